/** The console page: binds the socket to what is on the page. */
import { curlText, roomUrl } from "./addresses.js";
import { Backoff } from "../clarion/backoff.js";
import { closeMeaning } from "../clarion/close_codes.js";
import { Composer } from "../clarion/composer.js";
import { copyButtons } from "../clarion/copy.js";
import { errorOf } from "../clarion/frames.js";
import { LivePanel } from "../clarion/live_panel.js";
import { channelProblem } from "./names.js";
import { Notice } from "./notice.js";
import { PageTitle } from "../clarion/page_title.js";
import { RoomSocket } from "../clarion/socket.js";
import { StatePill } from "../clarion/state_pill.js";

const $ = (id) => document.getElementById(id);

/** What the server tells the page: the reader's user id, the namespaces, limits. */
const page = JSON.parse($("page").textContent);

/** Focus is moved for people with a pointer and a keyboard; on a phone it would open the keyboard over the page. */
const mayMoveFocus = matchMedia("(pointer: fine)").matches;

let channel = "";
let isJoiningByHand = false;
const title = new PageTitle("Console");
const pill = new StatePill($("state"));
const notice = new Notice({
  box: $("notice"),
  what: $("notice-what"),
  advice: $("notice-advice"),
  code: $("notice-code"),
  signIn: $("notice-sign-in"),
});
const panel = new LivePanel({
  scroller: $("rows"),
  list: $("row-list"),
  empty: $("empty"),
  unseen: $("unseen"),
  pause: $("pause"),
  count: $("count"),
  rate: $("rate"),
});
const composer = new Composer(
  { form: $("composer"), field: $("message"), hint: $("message-hint"), kind: $("message-kind") },
  { send, refusal, maxBytes: page.publication_bytes },
);
const socket = new RoomSocket({ backoff: new Backoff(), onState: showState, onMessage: received });

/** The page would take this for an error frame of the gateway. */
function refusal(frame) {
  return errorOf(frame) && 'A message of just {"error": {"code", "message"}} is kept for the gateway. Wrap it.';
}

function send(frame) {
  if (!socket.send(frame)) return `Not sent: ${NOT_OPEN[socket.state.name]}`;
  panel.add("sent", frame);
  return null;
}

const NOT_OPEN = {
  idle: "no channel is joined. Press Join first.",
  connecting: "the connection is not open yet. Send again in a moment.",
  open: "the connection is closing. Send again in a moment.",
  waiting: "the connection is away. Send again once it is back, or press Reconnect.",
  stopped: "the connection is stopped. Press Reconnect first.",
  closed: "the connection is closed. The notice above says why.",
};

function received(frame) {
  const error = errorOf(frame);
  if (error) return composer.giveBack(`Refused: ${error.message} (${error.code})`);
  composer.arrived(frame);
  panel.add("received", frame);
  title.arrived();
}

// ---- the channel form ----------------------------------------------------------------------------------------------

const channelField = $("channel");
const channelHelp = $("channel-help");
const helpNodes = [...channelHelp.childNodes];

/** Show which rule the name breaks, in place of the examples; true if it breaks none. */
function checkChannel() {
  const problem = channelProblem(channelField.value);
  channelField.setAttribute("aria-invalid", String(problem !== null));
  channelHelp.classList.toggle("is-bad", problem !== null);
  if (problem) channelHelp.textContent = problem[0].toUpperCase() + problem.slice(1) + ".";
  else if (channelHelp.firstChild !== helpNodes[0]) channelHelp.replaceChildren(...helpNodes);
  return problem === null;
}

/** Join the channel in the field; keep it in the address, so that a reload or a shared link joins it again. */
function join() {
  if (!checkChannel()) return channelField.focus();
  const isSame = channelField.value === channel;
  channel = channelField.value;
  showCurl();
  if (isSame && socket.state.name !== "idle") return socket.reconnect();
  history.replaceState(null, "", `?channel=${encodeURIComponent(channel).replaceAll("%3A", ":")}`);
  socket.join(roomUrl(location.origin, channel));
}

function showCurl() {
  const shown = channel || channelField.value;
  $("curl").textContent = curlText(location.origin, shown);
  $("empty-channel").textContent = shown;
  // A personal channel is for listening: nobody but a service may publish there.
  $("empty-how").textContent = shown.startsWith("#")
    ? "Services publish here, and nobody else. Notify this user, or publish"
    : "Send one below, open this page in a second window, or publish";
}

// ---- the state, everywhere it shows --------------------------------------------------------------------------------

let before = { name: "idle" };

function showState(state) {
  pill.show(state);
  title.show(state.name, channel);
  notice.show(state, channel, page);
  $("room").textContent = channel;
  showButtons(state);
  logChange(state);
  if (state.name === "open") opened();
  if (before.name === "open" && state.name !== "stopped") {
    composer.closed("The connection closed before this came back: it may not have gone through.");
  }
  before = state;
}

/** Who pressed Join wants to write next; the button that had the focus is now disabled. */
function opened() {
  composer.opened();
  if (isJoiningByHand && mayMoveFocus) composer.focus();
  isJoiningByHand = false;
}

/** A row for each time the connection opens or is lost, so that the reader sees where messages may be missing. */
function logChange(state) {
  if (state.name === "open") panel.note(`Joined ${channel}${state.node ? ` on ${state.node}` : ""}`);
  if (before.name !== "open") return;
  if (state.name === "stopped") panel.note("Stopped");
  if (state.code) panel.note(`Left: ${closeMeaning(state.code, state.reason)} (${state.code})`);
}

function showButtons({ name }) {
  const isOther = channelField.value !== channel;
  const isUp = name === "open" || name === "connecting";
  const label = name === "connecting" ? "Joining…" : name === "open" ? "Joined" : "Reconnect";
  const joinButton = $("join");
  joinButton.textContent = isOther || name === "idle" ? "Join" : label;
  joinButton.disabled = isUp && !isOther;
  joinButton.classList.toggle("is-primary", !isUp || isOther);
  $("send").classList.toggle("is-primary", name === "open" && !isOther);
  $("stop").disabled = !isUp && name !== "waiting";
}

// ---- the reader ----------------------------------------------------------------------------------------------------

$("channel-form").addEventListener("submit", (event) => {
  event.preventDefault();
  isJoiningByHand = true;
  join();
});
channelField.addEventListener("input", () => {
  if (channelField.getAttribute("aria-invalid") === "true") checkChannel();
  if (channel === "" && channelProblem(channelField.value) === null) showCurl();
  showButtons(socket.state);
});
channelField.addEventListener("change", checkChannel);
channelHelp.addEventListener("click", ({ target }) => {
  if (!target.dataset.channel) return;
  channelField.value = target.dataset.channel;
  join();
});
$("stop").addEventListener("click", () => socket.stop());

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input, textarea, select");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    composer.focus();
  } else if (event.key === "Escape" && !event.isComposing) {
    panel.closeRows();
  }
});

// ---- the network ---------------------------------------------------------------------------------------------------

let wasOffline = false;
addEventListener("offline", () => (wasOffline = true));
addEventListener("online", () => {
  // A socket that was open when the network went may be dead without knowing it: leave it.
  if (wasOffline && socket.state.name === "open") socket.reconnect();
  wasOffline = false;
  socket.wake();
});
document.addEventListener("visibilitychange", () => document.hidden || socket.wake());

copyButtons();
showCurl();
title.show("idle", "");
const linked = new URLSearchParams(location.search).get("channel");
if (linked !== null) {
  channelField.value = linked;
  join();
} else if (mayMoveFocus) {
  channelField.focus();
  channelField.select();
}
