/** Copy buttons: `<button data-copy="id">` copies that element's text and says so. */

const SAID_MS = 1500;

/** Put a text on the clipboard and say "Copied" on the button for a moment. */
export async function copyFrom(button, text) {
  const isCopied = await write(text);
  button.textContent = isCopied ? "Copied" : "Press Ctrl+C";
  setTimeout(() => (button.textContent = "Copy"), SAID_MS);
}

/** Bind every `data-copy` button of the page. */
export function copyButtons(root = document) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () =>
      copyFrom(button, document.getElementById(button.dataset.copy).textContent.trim()),
    );
  }
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeBySelection(text); // plain HTTP on a name other than localhost has no clipboard interface
  }
}

function writeBySelection(text) {
  const before = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  before?.focus();
  return isCopied;
}
