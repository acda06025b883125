/** One conversion, followed layer by layer. */
import { ApiError, type Conversion, follow, type Layer, type Reason } from './console-api.ts';
import { actionOf, stateOf, tookText } from './conversions-page.ts';
import { type Page, SignInNeeded } from './live-page.ts';
import { breakable, element, errorPanel, figures, redraw, tableOf } from './page-elements.ts';
import { bytesText, percentText, shortDigest, timeText } from './page-format.ts';

/** Makes the page of a conversion. */
export function conversionPage(id: string): Page {
  return async function open(main, signal) {
    main.replaceChildren(element('p', { class: 'muted', role: 'status' }, 'Loading …'));
    try {
      await follow(id, (conversion) => show(main, conversion, signal), signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status === 401) throw new SignInNeeded();
      const { message, hint } = error instanceof ApiError ? error : { message: String(error), hint: undefined };
      main.append(errorPanel(message, hint, () => void open(main, signal)));
    }
  };
}

function show(main: HTMLElement, conversion: Conversion, signal: AbortSignal): void {
  const { repository, tag, digest, state, rule, from, attempts, created, reason, progress, result } = conversion;
  const action = actionOf(conversion, signal);
  const shown: HTMLElement[] = [
    element('p', {}, element('a', { href: '#/' }, '← all conversions')),
    element('h1', {}, ...breakable(`${repository}:${tag}`)),
    element('div', { class: 'panel' }, stateOf(conversion), action !== undefined && element('p', {}, action)),
    figures([
      ['Digest', digest === undefined ? '–' : shortDigest(digest)],
      ['Rule', String(rule)],
      ['Asked for by', from],
      ['Attempts', String(attempts)],
      ['Accepted', timeText(created)],
      ['Took', tookText(conversion) || '–'],
    ]),
  ];
  if (reason !== undefined && state !== 'done') shown.push(reasonPanel(reason));
  if (state === 'running' && progress !== undefined && progress.layers.length > 0) {
    shown.push(element('h2', {}, 'Layers'), layerTable(progress.layers));
  }
  if (result !== undefined) shown.push(...resultParts(result));
  redraw(main, ...shown);
}

function resultParts(result: NonNullable<Conversion['result']>): HTMLElement[] {
  return [
    element('h2', {}, 'Accelerated tags'),
    tableOf(
      'Accelerated tags',
      [
        {
          head: 'Tag',
          kind: 'name',
          cell: (made) => element('code', {}, ...breakable(`${result.target}:${made.tag}`)),
        },
        { head: 'Kind', cell: (made) => made.kind },
        { head: 'Digest', cell: (made) => element('code', { title: made.digest }, shortDigest(made.digest)) },
        { head: 'Size', kind: 'number', cell: (made) => bytesText(made.size) },
        { head: 'Ratio', kind: 'number', cell: (made) => percentText(made.ratio) },
        { head: 'Made', kind: 'short', cell: (made) => (made.upToDate ? 'was up to date' : 'by this conversion') },
      ],
      result.tags,
    ),
    element('p', { class: 'muted' }, `Platforms: ${result.platforms.join(', ')}. Verified: ${result.verified}.`),
    ...result.warnings.map((warning) => element('p', { class: 'panel' }, warning)),
  ];
}

function layerTable(layers: readonly Layer[]): HTMLElement {
  return tableOf(
    'Layers',
    [
      { head: 'Platform', kind: 'short', cell: (layer) => layer.platform },
      { head: 'Layer', kind: 'number', cell: (layer) => `${layer.index + 1} of ${layer.count}` },
      { head: 'Digest', cell: (layer) => element('code', { title: layer.digest }, shortDigest(layer.digest)) },
      { head: 'Size', kind: 'number', cell: (layer) => bytesText(layer.size) },
      {
        head: 'Progress',
        cell: ({ read, size, state, index }) =>
          element(
            'div',
            {},
            element('progress', { max: Math.max(1, size), value: read, 'aria-label': `layer ${index + 1}` }),
            element('div', { class: 'muted' }, state),
          ),
      },
    ],
    layers,
  );
}

function reasonPanel({ message, code, expected, found, hint, where = {}, temporary }: Reason): HTMLElement {
  const place = Object.entries(where).map(([name, value]) => `${name} ${value}`);
  return element(
    'div',
    { class: 'panel bad' },
    element('p', {}, message),
    place.length > 0 && element('p', { class: 'muted' }, place.join(', ')),
    expected !== undefined && element('p', {}, `expected: ${expected}`),
    found !== undefined && element('p', {}, `found: ${found}`),
    hint !== undefined && element('p', {}, hint),
    element(
      'p',
      { class: 'muted' },
      temporary ? `${code}: it is tried again by itself` : `${code}: it is not tried again by itself`,
    ),
  );
}
