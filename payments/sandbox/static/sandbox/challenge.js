// 3-D Secure inside a checkout's dialog: the answer is told to the parent. On its own the form leads back by itself.

const page = document.getElementById("challenge");
const form = document.getElementById("answer");
const { parentOrigin, status, message, unreachable } = page.dataset;
const inFrame = window.parent !== window;

function tell(type, more = {}) {
  window.parent.postMessage({ source: "sandbox-payments", type, ...more }, parentOrigin);
}

function conclude(answer) {
  if (answer.status === "complete") tell("complete");
  else tell("failed", { message: answer.message ?? message });
}

async function answer(event) {
  event.preventDefault();
  const banner = document.getElementById("banner");
  const buttons = [...form.querySelectorAll("button")];
  const body = new URLSearchParams({ outcome: event.submitter?.value ?? "abandon" });
  banner.hidden = true;
  buttons.forEach((button) => { button.disabled = true; });
  try {
    const response = await fetch(form.action, { method: "POST", headers: { Accept: "application/json" }, body });
    conclude(await response.json());
  } catch {
    buttons.forEach((button) => { button.disabled = false; });
    banner.textContent = unreachable;
    banner.hidden = false;
  }
}

if (inFrame) {
  document.documentElement.classList.add("in-frame");
  if (form) form.addEventListener("submit", answer);
  else {
    document.getElementById("onward").hidden = true;
    conclude({ status });
  }
}
