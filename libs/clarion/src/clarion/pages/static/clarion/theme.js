/**
 * The theme switch: system, light or dark, remembered for a year.
 *
 * In a cookie, not in local storage: the server then writes the choice into the page, and no page flashes in the
 * wrong colours before a script has run.
 */
const COOKIE = "clarion_theme";
const YEAR_S = 31_536_000;

/** Show and remember a theme; "system" forgets. */
function themeSet(theme) {
  const isSystem = theme === "system";
  if (isSystem) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.cookie = `${COOKIE}=${theme}; Path=/; SameSite=Lax; Max-Age=${isSystem ? 0 : YEAR_S}`;
}

const choice = document.getElementById("theme");
const current = document.documentElement.dataset.theme || "system";
for (const input of choice.querySelectorAll("input")) input.checked = input.value === current;
choice.addEventListener("change", (event) => themeSet(event.target.value));
choice.hidden = false;
