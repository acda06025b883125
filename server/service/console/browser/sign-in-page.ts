/** Asks for a token. It stays in this tab, and goes nowhere but to the service. */
import { ApiError, ask, token } from './console-api.ts';
import { element } from './page-elements.ts';

/** Shows the form; `done` is called when the service knows the token. */
export function showSignIn(main: HTMLElement, done: () => void): void {
  const input = element('input', { type: 'password', name: 'token', autocomplete: 'current-password', required: true });
  const problem = element('p', { role: 'alert' });
  const submit = element('button', { type: 'submit', class: 'primary' }, 'Sign in');
  main.replaceChildren(
    element('h1', {}, 'Sign in'),
    element(
      'form',
      {
        class: 'panel',
        submit: async (event) => {
          event.preventDefault();
          submit.disabled = true;
          token.set(input.value.trim());
          try {
            await ask('api/v1/conversions?limit=1');
            done();
          } catch (error) {
            token.clear();
            problem.textContent = error instanceof ApiError ? error.message : String(error);
            submit.disabled = false;
          }
        },
      },
      element('div', { class: 'bar' }, element('label', {}, 'Token', input), submit),
      problem,
      element(
        'p',
        { class: 'muted' },
        'A token of service.tokens in the configuration. It is kept in this tab until the tab is closed.',
      ),
    ),
  );
  input.focus();
}
