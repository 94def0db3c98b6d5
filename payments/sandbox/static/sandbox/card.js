// The three card fields: they format while one types, take what is pasted, and say what is wrong under each field.
// The server judges again; nothing here is trusted.

const BRANDS = [
  { name: "amex", label: "American Express", starts: /^3[47]/, lengths: [15], groups: [4, 6, 5], cvc: 4 },
  { name: "visa", label: "Visa", starts: /^4/, lengths: [13, 16, 19], groups: [4, 4, 4, 4, 3], cvc: 3 },
  { name: "mastercard", label: "Mastercard", starts: /^(5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720)/, lengths: [16], groups: [4, 4, 4, 4], cvc: 3 },
  { name: "discover", label: "Discover", starts: /^(6011|65|64[4-9])/, lengths: [16, 19], groups: [4, 4, 4, 4, 3], cvc: 3 },
];
const UNKNOWN = { name: "unknown", label: "", starts: /^/, lengths: [13, 14, 15, 16, 17, 18, 19], groups: [4, 4, 4, 4, 3], cvc: 3 };

const digitsOf = (text) => text.replace(/\D/g, "");
const brandOf = (digits) => BRANDS.find((brand) => brand.starts.test(digits)) ?? UNKNOWN;

function passesCheckDigit(digits) {
  let total = 0;
  [...digits].reverse().forEach((digit, place) => {
    const doubled = Number(digit) * (1 + (place % 2));
    total += doubled > 9 ? doubled - 9 : doubled;
  });
  return total % 10 === 0;
}

function grouped(digits, groups) {
  const parts = [];
  let rest = digits;
  for (const size of groups) {
    if (!rest) break;
    parts.push(rest.slice(0, size));
    rest = rest.slice(size);
  }
  return parts.join(" ");
}

// Put a formatted value into the field and leave the caret behind the same digit as before.
function setKeepingCaret(input, value) {
  if (input.value === value) return;
  const atEnd = input.selectionStart === input.value.length;
  const digitsBefore = digitsOf(input.value.slice(0, input.selectionStart ?? 0)).length;
  input.value = value;
  if (atEnd || document.activeElement !== input) return;
  let caret = 0;
  for (let seen = 0; seen < digitsBefore && caret < value.length; caret += 1) {
    if (/\d/.test(value[caret])) seen += 1;
  }
  input.setSelectionRange(caret, caret);
}

function formatNumber(input) {
  const digits = digitsOf(input.value);
  const brand = brandOf(digits);
  setKeepingCaret(input, grouped(digits.slice(0, Math.max(...brand.lengths)), brand.groups));
}

function formatExpiry(input, deleting) {
  setKeepingCaret(input, expiryShown(input.value, deleting));
}

function expiryShown(typed, deleting) {
  let digits = digitsOf(typed);
  const yearFirst = typed.match(/^\s*(\d{4})\D(\d{1,2})\s*$/); // 2030-08, as some password managers fill it
  if (yearFirst) digits = yearFirst[2].padStart(2, "0") + yearFirst[1];
  else if (!deleting && (/^\s*\d\s*\//.test(typed) || /^[2-9]/.test(digits))) digits = `0${digits}`;
  if (digits.length >= 6) digits = digits.slice(0, 2) + digits.slice(4, 6); // 08 / 2030
  else if (digits.length === 5 && digits.slice(2, 4) !== "20") digits = digits.slice(0, 4);
  const [month, year] = [digits.slice(0, 2), digits.slice(2)];
  return year || (month.length === 2 && !deleting) ? `${month} / ${year}` : month;
}

export function enhance(form, { onChange = () => {}, onEnter = () => {} } = {}) {
  const field = { number: form.elements.number, expiry: form.elements.expiry, cvc: form.elements.cvc };
  const names = Object.keys(field);
  const says = form.dataset;
  const picture = form.querySelector("#brand");
  const brand = () => brandOf(digitsOf(field.number.value));

  const complaint = {
    number() {
      const digits = digitsOf(field.number.value);
      if (!digits) return says.numberMissing;
      if (digits.length < Math.min(...brand().lengths)) return says.numberIncomplete;
      if (!passesCheckDigit(digits)) return brand().lengths.includes(digits.length) ? says.numberWrong : says.numberIncomplete;
      return "";
    },
    expiry() {
      const digits = digitsOf(field.expiry.value);
      if (!digits) return says.expiryMissing;
      const [month, year] = [Number(digits.slice(0, 2)), 2000 + Number(digits.slice(2))];
      if (digits.length !== 4 || month < 1 || month > 12) return says.expiryWrong;
      const now = new Date();
      return year < now.getFullYear() || (year === now.getFullYear() && month < now.getMonth() + 1) ? says.expiryPast : "";
    },
    cvc() {
      const wanted = brand().cvc;
      if (!field.cvc.value) return says.cvcMissing;
      return field.cvc.value.length === wanted ? "" : wanted === 4 ? says.cvcIncompleteAmex : says.cvcIncomplete;
    },
  };

  function show(name, message) {
    const place = document.getElementById(`${name}-error`);
    if (place.textContent !== message) place.textContent = message;
    if (message) field[name].setAttribute("aria-invalid", "true");
    else field[name].removeAttribute("aria-invalid");
  }

  function showBrand() {
    const { name, label, cvc } = brand();
    picture.dataset.brand = name;
    picture.setAttribute("aria-hidden", String(!label)); // a picture that says nothing is passed over
    picture.setAttribute("aria-label", label);
    field.cvc.maxLength = cvc;
    if (field.cvc.value.length > cvc) field.cvc.value = field.cvc.value.slice(0, cvc);
  }

  function changed(name, event) {
    const deleting = (event.inputType ?? "").startsWith("delete");
    if (name === "number") formatNumber(field.number);
    if (name === "expiry") formatExpiry(field.expiry, deleting);
    if (name === "cvc") setKeepingCaret(field.cvc, digitsOf(field.cvc.value));
    showBrand();
    if (field[name].hasAttribute("aria-invalid") && !complaint[name]()) show(name, "");
    onChange({ complete: names.every((each) => !complaint[each]()), brand: brand().name });
  }

  for (const name of names) {
    field[name].addEventListener("input", (event) => changed(name, event));
    field[name].addEventListener("blur", () => {
      if (field[name].value.trim() && complaint[name]()) show(name, complaint[name]());
    });
    field[name].addEventListener("keydown", (event) => {
      if (event.key === "Enter") onEnter(event);
    });
  }
  if (field.number.value) formatNumber(field.number);
  showBrand();

  return {
    // Show everything that is wrong, lead to the first of it, and return it by field.
    complaints() {
      const wrong = {};
      for (const name of names) if (complaint[name]()) wrong[name] = complaint[name]();
      this.show(wrong);
      return wrong;
    },
    show(wrong) {
      for (const name of names) show(name, wrong[name] ?? "");
      const first = names.find((name) => wrong[name]);
      if (first) field[first].focus();
    },
    lock(locked) {
      form.toggleAttribute("aria-busy", locked);
      for (const name of names) field[name].readOnly = locked;
    },
  };
}
