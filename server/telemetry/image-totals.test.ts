/** Tests which bytes count for which image. */
import { expect, it } from 'vitest';
import { ImageTotals } from './image-totals.ts';

const A = { registry: 'r', repository: 'team/app', path: 'https://r/v2/team/app/blobs/x' };
const B = { registry: 'r', repository: 'junk', path: 'https://r/v2/junk/blobs/x' };
const names = (totals: ImageTotals) => totals.list().map(({ repository, toClients }) => [repository, toClients]);

it('bytes count for the place that a registry confirmed, whatever is said before and after', () => {
  const totals = new ImageTotals();
  totals.learn('x', B);
  totals.add('x', 'toClients', 1);
  expect([totals.nameOf('x'), names(totals)]).toEqual([expect.objectContaining(B), []]);
  totals.confirm('x', A);
  totals.add('x', 'toClients', 2);
  totals.learn('x', B);
  totals.add('x', 'toClients', 4);
  expect(names(totals)).toEqual([['team/app', 6]]);
  totals.confirm('x', B);
  totals.add('x', 'toClients', 8);
  expect(names(totals)).toEqual([
    ['junk', 8],
    ['team/app', 6],
  ]);
});
