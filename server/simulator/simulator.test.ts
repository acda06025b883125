import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { simulate } from './event-loop.ts';
import { EventQueue } from './event-queue.ts';
import { jsonLine } from './report.ts';
import { layersOf, networkBound, rateOf, type Scenario, scenario } from './scenario.ts';

const HUNDRED = { nodes: 60, layers: layersOf('3x32')! };

describe('the event queue', () => {
  it('gives events in order of time, and of age where times are equal', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 20 }), { maxLength: 3000 }), (times) => {
        const queue = new EventQueue<number>();
        for (const [age, time] of times.entries()) queue.add(time, age);
        const taken = times.map(() => ({ age: queue.take()!, time: queue.time }));
        const sorted = times.map((time, age) => ({ age, time })).sort((a, b) => a.time - b.time || a.age - b.age);
        expect(taken).toEqual(sorted);
        expect(queue.take()).toBeUndefined();
      }),
      { numRuns: 30 },
    );
  });
});

describe('a healthy fleet', () => {
  it('gets the image near the bound, from a registry that sends it once', () => {
    const { p95, bound, originRatio, maxUploadRatio, unfinished } = simulate(
      scenario({ nodes: 100, layers: layersOf('3x64')! }),
    );
    expect(unfinished).toBe(0);
    expect(p95).toBeGreaterThan(bound);
    expect(p95 / bound).toBeLessThan(2);
    expect(originRatio).toBeCloseTo(1, 10);
    expect(maxUploadRatio).toBeLessThan(1.5);
  });

  it('the same scenario gives the same outcome, another seed another', () => {
    const one = simulate(scenario(HUNDRED));
    expect(simulate(scenario(HUNDRED))).toEqual(one);
    expect(simulate(scenario({ ...HUNDRED, seed: 2 })).p95).not.toBe(one.p95);
  });

  it('a registry that is the bottleneck is the bound', () => {
    const outcome = simulate(
      scenario({ nodes: 8, layers: layersOf('4x16')!, up: rateOf('10gbit')!, registry: rateOf('50mbit')! }),
    );
    expect(outcome.bound).toBeCloseTo((64 * 1024 * 1024 * 8) / 50e6, 6);
    expect(outcome.p95 / outcome.bound).toBeLessThan(1.05);
  });

  it('crosses into each other zone once', () => {
    const { crossZoneRatio, originRatio, unfinished } = simulate(scenario({ ...HUNDRED, zones: 3 }));
    expect(unfinished).toBe(0);
    expect(originRatio).toBeCloseTo(1, 10);
    // Each piece leaves the owner's zone for two others.
    expect(crossZoneRatio).toBeLessThan(2.1);
  });

  it('one node alone takes the image from the registry', () => {
    const outcome = simulate(scenario({ nodes: 1, layers: layersOf('2x16')! }));
    expect(outcome).toMatchObject({ unfinished: 0, originRatio: 1, maxUploadRatio: 0 });
  });
});

describe('every living node gets the whole image', () => {
  it.each<[string, Partial<Scenario>, mostOrigin: number]>([
    ['a fifth dies', { killed: 0.2, killedAt: 0.3 }, 1.5],
    ['all but one die', { killed: 0.99, killedAt: 0.3 }, 2.5],
    ['views miss a tenth', { missing: 0.1 }, 1.3],
    ['views miss a half', { missing: 0.5 }, 6],
    ['a tenth is slow', { slow: 0.1 }, 1.01],
    ['pulls start one after another', { stagger: 3 }, 1.01],
    ['few pull', { pullers: 5 }, 1.01],
    ['deaths, views and zones together', { killed: 0.1, killedAt: 0.3, missing: 0.1, zones: 3 }, 2],
  ])('%s', (_, changes, mostOrigin) => {
    const { unfinished, originRatio } = simulate(scenario({ ...HUNDRED, ...changes }));
    expect(unfinished).toBe(0);
    expect(originRatio).toBeLessThan(mostOrigin);
  });
});

it('a client that unpacks is bound by its own disk and processor', () => {
  const client = { disk: 220e6, gunzip: 60e6, ratio: 2.5, dirty: 80e6 };
  const outcome = simulate(scenario({ nodes: 60, layers: layersOf('4x128')!, up: rateOf('10gbit')!, client }));
  expect(outcome.unfinished).toBe(0);
  expect(outcome.bound).toBeGreaterThan(networkBound(outcome.scenario));
  expect(outcome.p95 / outcome.bound).toBeLessThan(1.1);
});

it('the line of JSON has the four figures', () => {
  const line = JSON.parse(jsonLine(simulate(scenario({ nodes: 4, layers: layersOf('1x8')! }))));
  expect(Object.keys(line)).toEqual(['p95Seconds', 'boundSeconds', 'originRatio', 'maxUploadRatio']);
  for (const value of Object.values(line)) expect(value).toEqual(expect.any(Number));
});

it.each([
  ['3x512', [512 * 2 ** 20, 512 * 2 ** 20, 512 * 2 ** 20]],
  ['1x0.5', [2 ** 19]],
  ['0x512', undefined],
  ['3x0', undefined],
  ['3×512', undefined],
])('layersOf(%j)', (text, expected) => expect(layersOf(text)).toEqual(expected));

it.each([
  ['1500mbit', 187.5e6],
  ['10gbit', 1.25e9],
  ['0mbit', undefined],
  ['10', undefined],
])('rateOf(%j)', (text, expected) => expect(rateOf(text)).toBe(expected));
