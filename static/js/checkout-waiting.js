// The page that waits: asks how the payment stands, less and less often, and loads itself anew once there is an answer.

const PAUSES_S = [1, 1, 1, 2, 2, 3, 4, 6, 8, 10]; // the last one for ever
const SLOW_AFTER_MS = 30_000;

const waiting = document.getElementById("waiting");
const checked = document.getElementById("checked");
const slow = document.getElementById("slow");
let asked = 0;
let timer = 0;

async function ask() {
  const response = await fetch(waiting.dataset.status, { headers: { Accept: "application/json" }, cache: "no-store" });
  if (!response.ok) {
    throw new Error(`status ${response.status}`);
  }
  return response.json();
}

async function follow() {
  window.clearTimeout(timer);
  let says = waiting.dataset.saysChecked;
  try {
    const { state, title } = await ask();
    if (state !== waiting.dataset.state) {
      document.title = title;
      window.location.reload();
      return says;
    }
  } catch {
    says = waiting.dataset.saysOffline;
    checked.textContent = says;
  }
  timer = window.setTimeout(follow, PAUSES_S[Math.min(asked, PAUSES_S.length - 1)] * 1000);
  asked += 1;
  return says;
}

document.getElementById("check").addEventListener("click", async (event) => {
  event.preventDefault();
  checked.textContent = "";
  checked.textContent = await follow();
});

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") {
    follow();
  }
});

window.addEventListener("online", follow);
window.setTimeout(() => {
  slow.hidden = false;
}, SLOW_AFTER_MS);
timer = window.setTimeout(follow, PAUSES_S[0] * 1000);
