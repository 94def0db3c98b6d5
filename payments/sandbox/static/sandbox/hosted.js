// The hosted page works without this: it only formats, checks before sending, and keeps one from paying twice.

import { enhance } from "./card.js";

const form = document.getElementById("card");
const button = document.getElementById("pay");
const label = button.textContent;
const card = enhance(form);
let sent = false;

form.addEventListener("submit", (event) => {
  if (sent || Object.keys(card.complaints()).length) {
    event.preventDefault();
    return;
  }
  sent = true;
  button.textContent = button.dataset.paying;
  button.setAttribute("aria-disabled", "true");
});

window.addEventListener("pageshow", () => {
  sent = false;
  button.textContent = label;
  button.removeAttribute("aria-disabled");
});
