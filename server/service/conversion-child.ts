/**
 * The process of one conversion: reads its order from standard input, converts, and reports over IPC. It ends with the service: where the
 * channel closes nobody would hear of its end, and another process will do the work again.
 */
import { text } from 'node:stream/consumers';
import { AccelError, asAccelError } from '../../base/error.ts';
import { convertBetween } from '../../converter/convert.ts';
import { type Endpoints, withEndpoints } from '../../converter/endpoints.ts';
import type { ConvertRequest, ConvertResult, TagResult } from '../../converter/options.ts';
import { verifyMade } from '../../converter/publish/verify-made.ts';
import { resolveDocument } from '../../oci/document.ts';
import { registryOptions } from '../config/registry-access.ts';
import type { ConversionOrder, ConversionResult } from './conversion.ts';
import type { ConversionDocument, ConversionEnd, ConversionMessage } from './conversion-messages.ts';
import { ProgressTracker } from './conversion-progress.ts';
import { conversionRequest } from './conversion-request.ts';
import { failureOf } from './retries.ts';

const ALIVE_EVERY = 1_000;
const MAX_WARNINGS = 20;

const tracker = new ProgressTracker();
const stop = new AbortController();

process.on('disconnect', () => process.exit(1));
// The service decides when it ends; a terminal's Ctrl-C reaches both.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
process.on('message', () => stop.abort(new AccelError('aborted', 'the service ends')));

const alive = setInterval(() => send(aliveMessage()), ALIVE_EVERY);

const end = await run().catch((error: unknown): ConversionEnd => ({ type: 'failed', failure: failureOf(error) }));
clearInterval(alive);
process.send!(end, () => process.exit(0));

function aliveMessage(): ConversionMessage {
  return { type: 'alive', memory: process.memoryUsage.rss(), progress: tracker.report() };
}

function send(message: ConversionMessage): void {
  // A channel that has closed ends the process by `disconnect`.
  process.send!(message, () => undefined);
}

async function run(): Promise<ConversionEnd> {
  const document = JSON.parse(await text(process.stdin)) as ConversionDocument;
  const { order, registries } = document;
  const target = order.rule.options.targetRepository ?? order.repository;
  const [registry, targetRegistry] = await Promise.all([
    registryOptions(registries, order.repository),
    registryOptions(registries, target),
  ]);
  const surroundings = { registry, targetRegistry, signal: stop.signal, onEvent: tracker.add.bind(tracker) };
  const named = order.digest ?? 'sha256:'.padEnd(71, '0');
  return withEndpoints(conversionRequest(order, named, document), surroundings, async (endpoints) => {
    const before = await digestOfTag(endpoints, order);
    if (before === undefined) return { type: 'superseded', reason: 'the tag does not exist any more', gone: true };
    if (order.digest !== undefined && before !== order.digest) {
      return { type: 'superseded', reason: `the tag names ${before} now`, gone: false };
    }
    const request = conversionRequest(order, before, document);
    const result = await convertBetween(endpoints, request, {
      ...surroundings,
      beforeTags: async (made) => {
        await verifyAll(order, made, { endpoints, source: before });
        // The service has to know of tags that this process may leave behind, however soon it is killed.
        tracker.tagging();
        await new Promise<void>((resolve) => process.send!(aliveMessage(), () => resolve()));
      },
    });
    // A later push may have been converted while this ran, and its tags replaced by these: someone must look again.
    return {
      type: 'done',
      result: summary(order, request, result),
      moved: (await digestOfTag(endpoints, order)) !== before,
    };
  });
}

/** The digest that the tag of the order names now; undefined where it does not exist. */
async function digestOfTag({ source }: Endpoints, { tag }: ConversionOrder): Promise<string | undefined> {
  try {
    return (await resolveDocument(source, tag, { signal: stop.signal })).descriptor.digest;
  } catch (error) {
    if (asAccelError(error).code === 'not-found') return undefined;
    throw error;
  }
}

/** Verifies what is about to be tagged, as the rule says. Throws `verification-failed`. */
async function verifyAll(
  { rule }: ConversionOrder,
  made: readonly TagResult[],
  { endpoints, source }: { readonly endpoints: Endpoints; readonly source: string },
): Promise<void> {
  const { verify } = rule.options;
  if (verify === 'off') return;
  tracker.verifying();
  await verifyMade(made, { endpoints, source, extent: verify, signal: stop.signal });
}

function summary({ rule }: ConversionOrder, request: ConvertRequest, result: ConvertResult): ConversionResult {
  return {
    target: request.targetRepository ?? request.repository,
    source: result.source,
    tags: result.tags.map(({ tag, kind, digest, mediaType, size, ratio, upToDate }) => ({
      ...{ tag, kind, digest, mediaType, size, ratio, upToDate },
    })),
    platforms: [...new Set(result.tags.flatMap(({ manifests }) => manifests.map(({ platform }) => platform)))],
    warnings: shortened(result),
    verified: rule.options.verify,
    seconds: result.seconds,
  };
}

function shortened({ warnings, warningCount }: ConvertResult): string[] {
  const first = warnings.slice(0, MAX_WARNINGS);
  return warningCount > first.length ? [...first, `${warningCount} warnings in all`] : first;
}
