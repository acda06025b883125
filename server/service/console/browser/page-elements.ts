/** Makes elements. Text is always text: nothing that a registry or an error says becomes HTML. */
import { shortTimeText, timeText } from './page-format.ts';

/** A child of an element. */
export type Child = Node | string | number | undefined | false;

/** Attributes; a function is an event listener (`click`), true an attribute without a value. */
export type Attributes = Readonly<Record<string, string | number | boolean | undefined | ((event: Event) => void)>>;

/** Makes an element. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (typeof value === 'function') made.addEventListener(key, value);
    else made.setAttribute(key, value === true ? '' : String(value));
  }
  made.append(
    ...children
      .filter((child) => child !== undefined && child !== false)
      .map((child) => (child instanceof Node ? child : String(child))),
  );
  return made;
}

/** Replaces what an element shows. The focus stays on the element of the same id. */
export function redraw(place: HTMLElement, ...children: readonly (Node | string)[]): void {
  const { activeElement } = document;
  const id = activeElement !== null && place.contains(activeElement) ? activeElement.id : '';
  place.replaceChildren(...children);
  if (id !== '' && id !== place.id) document.getElementById(id)?.focus({ preventScroll: true });
}

/** A column of a table: its head, and what a row shows in it. */
export interface Column<Row> {
  readonly head: string;
  /** `number`: right-aligned figures; `name`: a long name, which may break; `short`: one line. */
  readonly kind?: 'number' | 'name' | 'short';
  readonly cell: (row: Row) => Child;
}

/** Makes a table; on a narrow page each row becomes a block whose cells carry the heads. */
export function tableOf<Row>(caption: string, columns: readonly Column<Row>[], rows: readonly Row[]): HTMLTableElement {
  return element(
    'table',
    {},
    element('caption', { class: 'visually-hidden' }, caption),
    element(
      'thead',
      {},
      element('tr', {}, ...columns.map((column) => element('th', { scope: 'col', class: column.kind }, column.head))),
    ),
    element(
      'tbody',
      {},
      ...rows.map((row) =>
        element(
          'tr',
          {},
          ...columns.map((column) =>
            element('td', { class: column.kind, 'data-label': column.head }, column.cell(row)),
          ),
        ),
      ),
    ),
  );
}

/** A name that breaks after its slashes and before the tag rather than within a word. */
export function breakable(name: string): readonly Child[] {
  const parts = name.split(/(?<=\/)|(?=:[^/]*$)/);
  return parts.flatMap((part, index) => (index === 0 ? [part] : [document.createElement('wbr'), part]));
}

/** A moment in few characters, with the whole of it in its title. */
export function moment(time: string): HTMLElement {
  return element('time', { datetime: time, title: timeText(time) }, shortTimeText(time));
}

/** Makes a list of figures with their names. */
export function figures(entries: readonly (readonly [name: string, value: string])[]): HTMLElement {
  return element(
    'dl',
    { class: 'figures' },
    ...entries.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))),
  );
}

/** Makes the panel of a page without data: it says how data comes. */
export function emptyPanel(title: string, ...lines: readonly Child[]): HTMLElement {
  return element(
    'div',
    { class: 'panel empty' },
    element('h2', {}, title),
    ...lines.map((line) => element('p', { class: 'muted' }, line)),
  );
}

/** Makes a panel with an error and a button to try again. */
export function errorPanel(message: string, hint: string | undefined, again: () => void): HTMLElement {
  return element(
    'div',
    { class: 'panel bad', role: 'alert' },
    element('p', {}, message),
    hint !== undefined && element('p', { class: 'muted' }, hint),
    element('button', { type: 'button', click: again }, 'Try again'),
  );
}
