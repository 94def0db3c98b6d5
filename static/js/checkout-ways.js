// What the ways to pay show that are not a card: the QR code with the time it is good for, the days of pay later, and what a gift card's
// code is answered with.  checkout.js opens the ways at our server and tells of it (way-opened).

const at = (id) => document.getElementById(id);

// The QR code

const qr = at("qr");
let over = 0; // when the code is over, by this machine's clock
let ticking = 0;

function showCode({ svg_url: address, seconds_left: secondsLeft }) {
  const code = at("qr-code");
  if (code.getAttribute("src") !== address) {
    code.src = address;
  }
  code.hidden = false;
  at("qr-loading").hidden = true;
  at("qr-new").hidden = true;
  at("qr-frame").classList.remove("is-over");
  over = Date.now() + secondsLeft * 1000;
  window.clearInterval(ticking);
  ticking = window.setInterval(tick, 1000);
  tick();
}

function tick() {
  const left = Math.max(0, Math.round((over - Date.now()) / 1000));
  const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  at("qr-left").textContent = qr.dataset.saysLeft.replace("{time}", time);
  if (left === 0) {
    endCode(qr.dataset.saysOver);
  }
}

function endCode(words) {
  window.clearInterval(ticking);
  at("qr-code").hidden = true;
  at("qr-loading").hidden = true;
  at("qr-frame").classList.add("is-over");
  at("qr-left").textContent = words;
  at("qr-aloud").textContent = words;
  at("qr-new").hidden = false;
}

function openCode(answer) {
  if (!answer?.qr || answer.status === "expired" || answer.qr.seconds_left <= 0) {
    endCode(answer ? qr.dataset.saysOver : `${qr.dataset.saysLoadTitle} ${qr.dataset.saysLoad}`);
    return;
  }
  showCode(answer.qr);
  const phone = at("qr-phone");
  if (phone && answer.hosted_url) {
    phone.href = answer.hosted_url;
    phone.hidden = false;
  }
}

// Pay later

function showSchedule(answer) {
  const list = at("schedule-list");
  if (!answer?.schedule?.length) {
    return;
  }
  list.replaceChildren(
    ...answer.schedule.map(({ due, amount }) => {
      const part = document.createElement("li");
      part.className = "spread";
      const [day, sum] = [document.createElement("span"), document.createElement("span")];
      day.textContent = due;
      sum.className = "amount";
      sum.textContent = amount;
      part.append(day, sum);
      return part;
    }),
  );
}

document.addEventListener("way-opened", ({ detail: { way, answer } }) => {
  if (way === "qr" && qr) {
    openCode(answer);
  } else if (way === "pay_later" && at("schedule")) {
    showSchedule(answer);
  }
});

// A gift card's code: what is wrong with it stands under its field, and what was typed stays

at("gift-form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const apply = form.querySelector("button");
  if (apply.getAttribute("aria-disabled") === "true") {
    return;
  }
  apply.setAttribute("aria-disabled", "true");
  const [code, complaint] = [at("gift-code"), at("gift-error")];
  complaint.textContent = "";
  try {
    const response = await fetch(form.action, { method: "POST", headers: { Accept: "application/json" }, body: new FormData(form) });
    const answer = response.headers.get("Content-Type")?.startsWith("application/json") ? await response.json() : {};
    if (answer.url) {
      window.location.replace(answer.url);
      return;
    }
    if (!answer.text) {
      window.location.reload(); // it stands differently now, and the page says how
      return;
    }
    complaint.textContent = answer.text;
    code.setAttribute("aria-invalid", "true");
    code.focus();
  } catch {
    complaint.textContent = form.dataset.saysOffline;
  }
  apply.removeAttribute("aria-disabled");
});
