import { expect, it } from 'vitest';
import { Budget } from './budget.ts';

/** Enters and notes it. */
function entering(budget: Budget, weights: readonly number[]): number[] {
  const entered: number[] = [];
  weights.forEach((weight, i) => void budget.enter(weight).then(() => entered.push(i)));
  return entered;
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

it('lets in what fits, in order, and never a later one before an earlier', async () => {
  const budget = new Budget(10, 100);
  const entered = entering(budget, [60, 50, 1]);
  await settled();
  expect(entered).toEqual([0]);
  budget.leave(60);
  await settled();
  expect(entered).toEqual([0, 1, 2]);
});

it('bounds the number', async () => {
  const budget = new Budget(2, 100);
  const entered = entering(budget, [0, 0, 0]);
  await settled();
  expect(entered).toEqual([0, 1]);
  budget.leave(0);
  await settled();
  expect(entered).toEqual([0, 1, 2]);
});

it('lets in what is heavier than all alone', async () => {
  const budget = new Budget(10, 100);
  const entered = entering(budget, [1, 500, 1]);
  await settled();
  expect(entered).toEqual([0]);
  budget.leave(1);
  await settled();
  expect(entered).toEqual([0, 1]);
  budget.leave(500);
  await settled();
  expect(entered).toEqual([0, 1, 2]);
});
