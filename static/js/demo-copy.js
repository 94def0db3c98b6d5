// Copies what is to be typed.  The buttons are there only where that works.
if (navigator.clipboard) {
  for (const button of document.querySelectorAll(".demo-copy")) {
    const words = button.firstChild;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      words.data = "Copied";
      setTimeout(() => { words.data = "Copy"; }, 1500);
    });
  }
}
