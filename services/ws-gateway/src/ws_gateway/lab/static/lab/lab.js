/** The lab's page: one lesson is open at a time, the one that the address names, and only its socket is live. */
import { copyButtons } from "../clarion/copy.js";
import { Card } from "./card.js";

const lessons = [...document.querySelectorAll(".lesson")];
const links = [...document.querySelectorAll(".index a")];
const cards = new Map();
let openLesson = null;

/** Open the lesson of the address; without one, the stylesheet shows the first. */
async function open() {
  const lesson = lessons.find(({ id }) => id === decodeURIComponent(location.hash.slice(1))) ?? lessons[0];
  if (lesson === openLesson) return;
  cards.get(openLesson)?.leave();
  openLesson = lesson;
  for (const link of links) {
    if (link.hash === `#${lesson.id}`) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  if (!cards.has(lesson)) {
    const module = await import(lesson.dataset.module);
    if (!cards.has(lesson)) cards.set(lesson, new Card(lesson, module));
  }
  if (lesson === openLesson) cards.get(lesson).enter();
  showWayBack();
}

/** Who signs in or out comes back to this lesson: the server does not see the fragment. */
function showWayBack() {
  const here = location.pathname + location.search + location.hash;
  for (const link of document.querySelectorAll('a[href^="/sign-in"]')) {
    link.href = `/sign-in?next=${encodeURIComponent(here)}`;
  }
  for (const field of document.querySelectorAll('input[name="next"]')) field.value = here;
}

function openCard() {
  return cards.get(openLesson);
}

addEventListener("hashchange", open);
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input:not([type=radio], [type=checkbox]), textarea, select");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    openCard()?.focusComposer();
  } else if (event.key === "Escape" && !event.isComposing) {
    openCard()?.closeRows();
  }
});
addEventListener("online", () => openCard()?.wake());
document.addEventListener("visibilitychange", () => document.hidden || openCard()?.wake());

copyButtons();
open();
