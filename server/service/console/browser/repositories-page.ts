/** Repositories: how much of each is converted, and what that weighs. */
import { ask, type Repository } from './console-api.ts';
import { keepLoading, type Page } from './live-page.ts';
import { breakable, element, emptyPanel, figures, moment, tableOf } from './page-elements.ts';
import { bytesText, percentText } from './page-format.ts';

interface RepositoryList {
  readonly repositories: readonly Repository[];
  readonly complete: boolean;
}

/** Shows the repositories. */
export const repositoriesPage: Page = async (main, signal) => {
  const place = element('div');
  main.replaceChildren(element('h1', {}, 'Repositories'), place);
  await keepLoading(
    place,
    async () => {
      const { repositories, complete } = await ask<RepositoryList>('api/v1/repositories', signal);
      if (repositories.length === 0) {
        place.replaceChildren(
          emptyPanel('No repositories yet', 'A repository appears with the first conversion of one of its images.'),
        );
        return;
      }
      place.replaceChildren(
        totals(repositories),
        tableOf(
          'Repositories',
          [
            {
              head: 'Repository',
              kind: 'name',
              cell: ({ repository }) =>
                element('a', { href: `#/?repository=${encodeURIComponent(repository)}` }, ...breakable(repository)),
            },
            { head: 'Coverage', cell: coverage },
            { head: 'Failed', kind: 'number', cell: ({ failed }) => failed },
            { head: 'Size', kind: 'number', cell: ({ sourceBytes }) => sizeText(sourceBytes) },
            { head: 'Accelerated', kind: 'number', cell: ({ acceleratedBytes }) => sizeText(acceleratedBytes) },
            {
              head: 'Ratio',
              kind: 'number',
              cell: ({ sourceBytes, acceleratedBytes }) => ratio(acceleratedBytes, sourceBytes),
            },
            { head: 'Last', kind: 'short', cell: ({ lastFinished }) => lastFinished && moment(lastFinished) },
          ],
          repositories,
        ),
        ...(complete ? [] : [element('p', { class: 'muted' }, 'There are more conversions than were added up here.')]),
      );
    },
    signal,
  );
};

function coverage({ images, converted, pending }: Repository): HTMLElement {
  return element(
    'div',
    {},
    element('progress', { max: images, value: converted, 'aria-label': 'converted images' }),
    element('div', { class: 'muted' }, `${converted} of ${images}${pending > 0 ? `, ${pending} pending` : ''}`),
  );
}

function totals(repositories: readonly Repository[]): HTMLElement {
  const sum = (of: (repository: Repository) => number): number =>
    repositories.reduce((total, one) => total + of(one), 0);
  const source = sum(({ sourceBytes }) => sourceBytes);
  const accelerated = sum(({ acceleratedBytes }) => acceleratedBytes);
  return figures([
    ['Images', String(sum(({ images }) => images))],
    ['Converted', String(sum(({ converted }) => converted))],
    ['Failed', String(sum(({ failed }) => failed))],
    ['Size of the images', bytesText(source)],
    ['Size accelerated', bytesText(accelerated)],
    ['Ratio', ratio(accelerated, source)],
  ]);
}

function ratio(accelerated: number, source: number): string {
  return source === 0 ? '–' : percentText(accelerated / source);
}

/** Nothing is converted yet where it is 0. */
function sizeText(bytes: number): string {
  return bytes === 0 ? '–' : bytesText(bytes);
}
