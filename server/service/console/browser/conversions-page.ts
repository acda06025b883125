/** Conversions as they run, and their history. */
import { ApiError, ask, type Conversion } from './console-api.ts';
import { keepLoading, type Page } from './live-page.ts';
import { breakable, type Child, type Column, element, emptyPanel, moment, redraw, tableOf } from './page-elements.ts';
import { bytesText, durationText, percentText } from './page-format.ts';

const STATES = ['', 'running', 'waiting', 'failed', 'done', 'cancelled', 'superseded'];
const PAGE_SIZE = 50;
/** Most rows that are kept on the page. */
const MAX_ROWS = 1000;

interface ConversionPage {
  readonly conversions: readonly Conversion[];
  readonly next?: string;
}

/** Shows the list, with filters that are kept in the address. */
export const conversionsPage: Page = async (main, signal) => {
  const filters = new URLSearchParams(location.hash.split('?')[1] ?? '');
  let wanted = PAGE_SIZE;
  const place = element('div');
  const change = (name: string, value: string): void => {
    if (value === '') filters.delete(name);
    else filters.set(name, value);
    location.hash = filters.size === 0 ? '#/' : `#/?${filters}`;
  };
  const state = element(
    'select',
    { change: (event) => change('state', (event.target as HTMLSelectElement).value) },
    ...STATES.map((name) =>
      element('option', { value: name, selected: (filters.get('state') ?? '') === name }, name === '' ? 'all' : name),
    ),
  );
  const repository = element('input', {
    type: 'search',
    placeholder: 'HOST/REPOSITORY',
    value: filters.get('repository') ?? '',
    change: (event) => change('repository', (event.target as HTMLInputElement).value.trim()),
  });
  main.replaceChildren(
    element('h1', {}, 'Conversions'),
    element(
      'div',
      { class: 'bar' },
      element('label', {}, 'State', state),
      element('label', {}, 'Repository', repository),
    ),
    place,
  );
  const more = (again: () => void): void => {
    wanted += PAGE_SIZE;
    again();
  };
  await keepLoading(
    place,
    async (again) => {
      const { conversions, next } = await load(filters, wanted, signal);
      const isMore = next !== undefined && wanted < MAX_ROWS;
      redraw(
        place,
        conversions.length === 0
          ? nothing(filters.size > 0)
          : tableOf('Conversions, newest first', columns(signal), conversions),
        ...(isMore
          ? [element('p', {}, element('button', { type: 'button', id: 'more', click: () => more(again) }, 'Show more'))]
          : []),
      );
    },
    signal,
  );
};

async function load(filters: URLSearchParams, wanted: number, signal: AbortSignal): Promise<ConversionPage> {
  const conversions: Conversion[] = [];
  let next: string | undefined;
  do {
    const query = new URLSearchParams({
      ...Object.fromEntries(filters),
      limit: String(Math.min(500, wanted - conversions.length)),
    });
    if (next !== undefined) query.set('after', next);
    const page = await ask<ConversionPage>(`api/v1/conversions?${query}`, signal);
    conversions.push(...page.conversions);
    next = page.next;
  } while (next !== undefined && conversions.length < wanted);
  return { conversions, ...(next === undefined ? {} : { next }) };
}

function nothing(isFiltered: boolean): HTMLElement {
  if (isFiltered) return emptyPanel('No such conversions', 'None of the conversions that are kept match the filters.');
  return emptyPanel(
    'No conversions yet',
    'Push an image that a rule covers, or ask for one:',
    element(
      'code',
      {},
      `curl -H 'Content-Type: application/json' -d '{"image":"HOST/REPOSITORY:TAG"}' ${location.origin}/api/v1/conversions`,
    ),
  );
}

function columns(signal: AbortSignal): readonly Column<Conversion>[] {
  return [
    {
      head: 'Image',
      kind: 'name',
      cell: ({ id, repository, tag }) =>
        element(
          'a',
          { href: `#/conversions/${encodeURIComponent(id)}`, id: `c-${id}` },
          ...breakable(`${repository}:${tag}`),
        ),
    },
    { head: 'State', cell: stateCell },
    {
      head: 'Size',
      kind: 'number',
      cell: ({ result }) => result && sizeCell(result),
    },
    { head: 'Took', kind: 'number', cell: tookText },
    { head: 'When', kind: 'short', cell: ({ finished, started, created }) => moment(finished ?? started ?? created) },
    { head: 'Action', kind: 'short', cell: (conversion) => actionOf(conversion, signal) },
  ];
}

/** The size before and after, and their ratio. */
function sizeCell({ source, tags: [first] }: NonNullable<Conversion['result']>): Child {
  if (first === undefined) return bytesText(source.size);
  return element(
    'div',
    {},
    `${bytesText(source.size)} → ${bytesText(first.size)}`,
    element('div', { class: 'muted' }, percentText(first.ratio)),
  );
}

/** The state with the progress or the reason below it. */
function stateCell(conversion: Conversion): Child {
  const { state, reason } = conversion;
  return element(
    'div',
    {},
    stateOf(conversion),
    reason !== undefined && state !== 'done' && element('div', { class: 'muted reason' }, reason.message),
  );
}

/** The state with the progress, or with the time of the next attempt. */
export function stateOf({ state, progress, reason, due }: Conversion): Child {
  const share = progress === undefined || progress.bytes === 0 ? undefined : progress.read / progress.bytes;
  return element(
    'div',
    {},
    element('span', { class: `state ${state}` }, state),
    state === 'running' &&
      element('progress', { max: 1, value: share, 'aria-label': `progress, ${progress?.stage ?? 'starting'}` }),
    state === 'running' &&
      progress !== undefined &&
      element(
        'div',
        { class: 'muted' },
        `${progress.stage}, ${bytesText(progress.read)} of ${bytesText(progress.bytes)}`,
      ),
    state === 'waiting' &&
      reason !== undefined &&
      due !== undefined &&
      element('div', { class: 'muted' }, 'again at ', moment(due)),
  );
}

/** The time from start to end, or to now; empty for what waits. */
export function tookText({ started, finished, state }: Conversion): string {
  if (started === undefined || state === 'waiting') return '';
  const end = finished === undefined || state === 'running' ? Date.now() : Date.parse(finished);
  return durationText(end - Date.parse(started));
}

/** The button that fits the state. */
export function actionOf({ id, state, repository, tag }: Conversion, signal: AbortSignal): Child {
  const image = `${repository}:${tag}`;
  const path = `api/v1/conversions/${encodeURIComponent(id)}`;
  if (state === 'failed') return button('Try again', `Try again: ${image}`, () => ask(`${path}/retry`, signal, 'POST'));
  if (state === 'waiting' || state === 'running')
    return button('Cancel', `Cancel ${image}`, () => ask(path, signal, 'DELETE'));
  return undefined;
}

function button(text: string, label: string, act: () => Promise<unknown>): HTMLElement {
  const made = element('button', {
    type: 'button',
    'aria-label': label,
    id: `b-${label}`,
    click: async () => {
      made.disabled = true;
      const news = document.getElementById('news');
      try {
        await act();
        if (news !== null) news.textContent = `${label}: done`;
      } catch (error) {
        const message = error instanceof ApiError ? error.message : String(error);
        if (news !== null) news.textContent = message;
        made.disabled = false;
        made.title = message;
        made.textContent = `${text}: ${message}`;
      }
    },
  });
  made.textContent = text;
  return made;
}
