/** Who hears of finished conversions: `service.notifications` of the configuration, with expressions compiled and secrets read. */
import { createHash } from 'node:crypto';
import { AccelError } from '../../../base/error.ts';
import type { Receiver } from '../../../notify/notify.ts';
import type { Config } from '../../config/schema.ts';
import { readSecretFile } from '../../config/secret-file.ts';
import type { Sink } from '../outbox.ts';
import { linearExpression } from './linear-expression.ts';

/** The forms of a notification. */
export type NotificationForm = Config['service']['notifications'][number]['form'];

/** A sink that can be sent to. */
export interface ConfiguredSink extends Sink {
  readonly form: NotificationForm;
  readonly receiver: Receiver;
}

/**
 * Reads all sinks. Throws `usage` for an expression or a secret that cannot be used, for two sinks of the same URL and form, and for
 * `github-dispatch` without a token.
 */
export async function loadSinks(notifications: Config['service']['notifications']): Promise<readonly ConfiguredSink[]> {
  const sinks: ConfiguredSink[] = [];
  for (const [index, { url, form, secretFile, expression }] of notifications.entries()) {
    const key = `service.notifications[${index}]`;
    const name = nameOf(url, form, expression);
    if (sinks.some((sink) => sink.name === name)) {
      throw new AccelError('usage', 'a notification is configured twice', {
        where: { key },
        hint: 'Remove one of the two.',
      });
    }
    if (form === 'github-dispatch' && secretFile === undefined) {
      throw new AccelError('usage', 'github-dispatch needs a token', {
        where: { key },
        expected: 'secretFile',
        found: 'none',
      });
    }
    const address = new URL(url);
    if (address.username !== '' || address.password !== '') {
      throw new AccelError('usage', 'a URL of notifications has a user name', {
        where: { key },
        expected: 'a URL without one, and secretFile',
      });
    }
    sinks.push({
      name,
      matches: linearExpression(expression, `${key}.expression`),
      form,
      receiver: {
        url: address,
        secret: secretFile === undefined ? undefined : await readSecretFile(secretFile, `${key}.secretFile`),
      },
    });
  }
  return sinks;
}

/** The same for the same sink, also after the order of the file has changed. */
function nameOf(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}
