// Makes the pages better where scripts run; they work without.
(() => {
  const d = document;
  const each = (selector, fn) => d.querySelectorAll(selector).forEach(fn);

  // Show and hide a password.
  each('.reveal', (button) => {
    const input = d.getElementById(button.getAttribute('aria-controls'));
    const show = (on) => {
      input.type = on ? 'text' : 'password';
      button.textContent = on ? button.dataset.hide : button.dataset.show;
      button.setAttribute('aria-label', on ? button.dataset.hideLabel : button.dataset.showLabel);
    };
    button.addEventListener('click', () => {
      show(input.type === 'password');
      input.focus();
    });
    input.form.addEventListener('submit', () => show(false));
  });

  // A form is sent once; its button keeps its width and says what happens.
  const toast = d.getElementById('toast');
  const forms = d.querySelectorAll('form');
  forms.forEach((form) => {
    form.addEventListener('submit', (event) => {
      if (form.dataset.sent) return event.preventDefault();
      if (navigator.onLine === false) {
        event.preventDefault();
        toast.textContent = d.body.dataset.offline;
        return;
      }
      form.dataset.sent = '1';
      let button = event.submitter;
      if (!button || button.classList.contains('default')) button = form.querySelector('.primary');
      if (!button || !button.dataset.busy) return;
      button.style.minWidth = button.offsetWidth + 'px';
      button.setAttribute('aria-busy', 'true');
      button.firstElementChild.dataset.was = button.firstElementChild.textContent;
      button.firstElementChild.textContent = button.dataset.busy;
    });
  });
  // Back from the next page, or online again: as it was.
  addEventListener('pageshow', (event) => {
    if (!event.persisted) return;
    forms.forEach((form) => delete form.dataset.sent);
    each('[aria-busy]', (button) => {
      button.removeAttribute('aria-busy');
      button.firstElementChild.textContent = button.firstElementChild.dataset.was;
    });
  });
  addEventListener('online', () => { toast.textContent = ''; });

  // A code sends itself when it is whole: once, and not while it is corrected.
  each('input[data-length]', (input) => {
    let done = input.getAttribute('aria-invalid') === 'true';
    input.addEventListener('input', (event) => {
      const code = input.value.replace(/[\s\-\u2010-\u2015]/g, '');
      if (done || code.length !== +input.dataset.length || /\D/.test(code)) return;
      if (event.inputType && event.inputType.startsWith('delete')) return;
      done = true;
      input.form.requestSubmit(input.form.querySelector('.primary'));
    });
  });

  // What helps while a password is chosen; the server decides.
  each('.strength', (hint) => {
    const field = hint.parentElement;
    const input = field.querySelector('input');
    const bar = field.querySelector('.meter');
    const said = d.getElementById('said');
    const rest = hint.textContent;
    const min = +hint.dataset.min;
    const digits = new Intl.NumberFormat(d.documentElement.lang);
    let wait;
    const judge = (text) => {
      const chars = [...text];
      if (!chars.length) return [0, rest];
      if (chars.length < min) {
        return [1, hint.dataset.progress.replace('{n}', digits.format(chars.length)).replace('{min}', digits.format(min))];
      }
      const lower = text.toLowerCase();
      if (new Set(lower).size < 5 || /^(.+?)\1+$/.test(lower)) return [1, hint.dataset.repeats];
      return chars.length < min + 5 ? [2, hint.dataset.good] : [3, hint.dataset.strong];
    };
    input.addEventListener('input', () => {
      const [level, words] = judge(input.value.slice(0, 256));
      bar.dataset.level = level;
      hint.textContent = words;
      clearTimeout(wait);
      wait = setTimeout(() => { said.textContent = words; }, 900);
    });
  });
})();
