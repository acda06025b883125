/**
 * Server-sent events of one conversion. News of this process are sent as they come; the store is asked each second as well, because the
 * conversion may run in another process.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { AppContext } from '../app-context.ts';
import { type ConversionRecord, conversionOf } from '../conversion.ts';
import { type Job, QueueError } from '../queue.ts';

/** Milliseconds between two looks at the store. */
const LOOK_INTERVAL = 1000;
/** Milliseconds between two signs of life, for proxies that end silent connections. */
const HEARTBEAT = 15_000;
/** Milliseconds after which the client has to ask again. */
const MAX_STREAM = 60 * 60 * 1000;
/** Bytes that may wait for a client; a slower one is ended. */
const MAX_BUFFERED = 1024 * 1024;

const ENDED: readonly string[] = ['done', 'failed', 'cancelled', 'superseded'];

/** True for a state that does not change by itself any more. */
export function hasEnded(state: string): boolean {
  return ENDED.includes(state);
}

/** Answers with the stream, which ends with the conversion, the client or the process. Throws QueueError for too many streams. */
export async function followConversion(
  job: Job,
  context: AppContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { queue, bus, draining } = context;
  let wake: () => void = () => undefined;
  let current = conversionOf(job);
  const unsubscribe = bus.subscribe(job.id, (news) => {
    if (news.type === 'progress') current = { ...current, progress: news.progress };
    wake();
  });
  if (unsubscribe === undefined) throw new QueueError('busy', 'too many event streams are open');
  const signal = AbortSignal.any([draining, AbortSignal.timeout(MAX_STREAM)]);
  reply.hijack();
  const { raw } = reply;
  const stop = (): void => {
    raw.end();
    wake();
  };
  request.raw.socket.once('close', stop);
  signal.addEventListener('abort', stop, { once: true });
  try {
    raw.writeHead(200, {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-store',
      'X-Accel-Buffering': 'no',
      'X-Content-Type-Options': 'nosniff',
    });
    let sent = '';
    let lastSign = Date.now();
    while (!raw.writableEnded && !raw.destroyed && raw.writableLength < MAX_BUFFERED) {
      const text = JSON.stringify(current);
      if (text !== sent) {
        raw.write(`event: conversion\ndata: ${text}\n\n`);
        sent = text;
        lastSign = Date.now();
      } else if (Date.now() - lastSign > HEARTBEAT) {
        raw.write(': waiting\n\n');
        lastSign = Date.now();
      }
      if (hasEnded(current.state)) break;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LOOK_INTERVAL).unref();
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      current = (await stored(queue, job.id)) ?? current;
    }
  } finally {
    unsubscribe();
    signal.removeEventListener('abort', stop);
    request.raw.socket.off('close', stop);
    if (!raw.writableEnded) raw.end();
  }
  return reply;
}

/** The conversion as it is stored; undefined where the store does not answer, or has forgotten it. */
async function stored(queue: AppContext['queue'], id: string): Promise<ConversionRecord | undefined> {
  try {
    const job = await queue.get(id);
    return job === undefined ? undefined : conversionOf(job);
  } catch {
    return undefined;
  }
}
