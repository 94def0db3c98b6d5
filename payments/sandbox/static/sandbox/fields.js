// The card fields inside a checkout's iframe. They talk to one parent only, the origin that opened the session.

import { enhance } from "./card.js";

const frame = document.getElementById("frame");
const form = document.getElementById("card");
const banner = document.getElementById("banner");
const { parentOrigin } = frame.dataset;

function tell(type, more = {}) {
  if (window.parent !== window) window.parent.postMessage({ source: "sandbox-payments", type, ...more }, parentOrigin);
}

function warn(message) {
  banner.hidden = !message;
  banner.textContent = message ?? "";
}

function fail(message) {
  warn(message);
  tell("failed", { message });
}

let card;
let busy = false;

async function submit() {
  if (busy || !card) return;
  warn("");
  const wrong = card.complaints();
  if (Object.keys(wrong).length) {
    tell("invalid", { fields: wrong });
    return;
  }
  busy = true;
  card.lock(true);
  let isOver = false;
  try {
    const response = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    isOver = conclude(await response.json());
  } catch {
    fail(frame.dataset.unreachable);
  }
  busy = isOver;
  card.lock(isOver);
}

// Pass the server's answer on; true when nothing more can be typed.
function conclude(answer) {
  if (answer.status === "invalid") {
    card.show(answer.fields);
    tell("invalid", { fields: answer.fields });
  } else if (answer.status === "requires_action") {
    tell("challenge", { url: answer.challenge_url });
  } else if (answer.status === "complete") {
    tell("complete");
    return true;
  } else {
    fail(answer.message ?? frame.dataset.unreachable);
  }
  return false;
}

if (form) {
  card = enhance(form, {
    onChange: (state) => tell("change", state),
    onEnter: (event) => {
      event.preventDefault();
      tell("enter"); // the parent decides whether that means "pay"
    },
  });
  form.addEventListener("submit", (event) => event.preventDefault());
}

window.addEventListener("message", (event) => {
  if (event.origin !== parentOrigin || event.source !== window.parent) return;
  if (event.data?.type === "submit") submit();
});

let height = 0;
new ResizeObserver(() => {
  const wanted = Math.ceil(frame.getBoundingClientRect().height) + 8; // the body's padding
  if (wanted === height) return;
  height = wanted;
  tell("resize", { height });
}).observe(frame);

tell("ready");
if (frame.dataset.status === "complete") tell("complete");
if (frame.dataset.status === "expired") tell("failed", { message: frame.dataset.expired });
