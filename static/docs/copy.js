// Copies an example.  The button is there only where it works.
if (navigator.clipboard) {
  for (const button of document.querySelectorAll(".code-copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.closest(".code").querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
}

// On a phone the list of contents begins closed; an error's address opens the list that it stands in.
if (matchMedia("(max-width: 64rem)").matches) {
  document.querySelector(".docs-nav details").open = false;
}
function showTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  const list = target && target.closest("details");
  if (list && !list.open) {
    list.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", showTarget);
showTarget();
