/** Event streams over a real listener. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { conversionJob, type ServiceApp, startServiceApp } from '../../../tests/support/service-app.ts';
import type { ConversionProgress } from '../conversion.ts';
import { MAX_SUBSCRIBERS } from '../progress-bus.ts';

let app: ServiceApp;
let id: string;
beforeEach(async () => {
  app = await startServiceApp();
  const [added] = await app.queue.add([conversionJob('1')]);
  id = added!.id;
});
afterEach(() => app.stop());

/** Reads documents one after another. */
// biome-ignore lint/suspicious/noExplicitAny: whatever the server says
async function follow(signal?: AbortSignal): Promise<{ status: number; next: () => Promise<any> }> {
  const answer = await fetch(`${app.url}/api/v1/conversions/${id}/events`, signal === undefined ? {} : { signal });
  expect(answer.headers.get('content-type')).toBe(
    answer.status === 200 ? 'text/event-stream' : 'application/json; charset=utf-8',
  );
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  const next = async (): Promise<unknown> => {
    for (;;) {
      const end = text.indexOf('\n\n');
      if (end >= 0) {
        const event = text.slice(0, end);
        text = text.slice(end + 2);
        expect(event).toMatch(/^event: conversion\ndata: \{[^\n]*\}$/);
        return JSON.parse(event.slice(event.indexOf('{')));
      }
      const { done, value } = await reader.read();
      if (done) return undefined;
      text += value;
    }
  };
  return { status: answer.status, next };
}

it('sends the state, each progress, and the end, and ends', async () => {
  const { next } = await follow();
  expect(await next()).toMatchObject({ id, state: 'waiting' });
  const [lease] = await app.queue.take('convert', 1);
  const progress: ConversionProgress = { stage: 'converting', bytes: 10, read: 5, layers: [] };
  await app.queue.renew(lease!, progress as never);
  app.bus.publish({ type: 'progress', id, progress });
  app.bus.publish({ type: 'progress', id: 'other', progress: { ...progress, read: 9 } });
  let shown = await next();
  while (shown.state !== 'running' || shown.progress === undefined) shown = await next();
  expect(shown.progress).toMatchObject({ stage: 'converting', read: 5 });
  await app.queue.finish(lease!, { kind: 'failed', failure: { code: 'internal', message: 'no', temporary: false } });
  app.bus.publish({ type: 'state', id, state: 'failed' });
  while (shown.state !== 'failed') shown = await next();
  expect(shown.reason).toMatchObject({ code: 'internal' });
  expect(await next()).toBeUndefined();
  expect(app.bus.size).toBe(0);
});

it('a client that leaves is forgotten', async () => {
  const gone = new AbortController();
  const { next } = await follow(gone.signal);
  await next();
  expect(app.bus.size).toBe(1);
  gone.abort();
  while (app.bus.size > 0) await delay(10);
});

it('ends when the process drains', async () => {
  const { next } = await follow();
  await next();
  app.drain();
  expect(await next()).toBeUndefined();
});

it('too many are refused with 503', async () => {
  const ends = Array.from({ length: MAX_SUBSCRIBERS }, () => app.bus.subscribe('x', () => undefined)!);
  expect((await follow()).status).toBe(503);
  ends[0]!();
  expect((await follow()).status).toBe(200);
});

it('HEAD does not wait for a body that never comes', async () => {
  expect((await fetch(`${app.url}/api/v1/conversions/${id}/events`, { method: 'HEAD' })).status).toBe(405);
});
