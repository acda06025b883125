/**
 * Webhooks of Azure Container Registry ("Azure Container Registry webhook reference"): one event, `action: push`. Also the same event
 * from Event Grid ("Azure Container Registry as an Event Grid source"): an array with the event under `data`, and a first request that
 * wants its validation code back.
 */
import { isRecord } from '../../../base/is-record.ts';
import {
  documentOf,
  type Hook,
  type HookSettings,
  isManifest,
  malformed,
  optional,
  Reading,
  recordAt,
  registryOf,
  textAt,
  textOf,
} from './hook.ts';

const KIND = 'acr-azure';
const VALIDATION = 'Microsoft.EventGrid.SubscriptionValidationEvent';
const MAX_EVENTS = 1000;

/** Reads a webhook or a delivery of Event Grid. */
export const readAcrAzure: Hook = (request, settings) => {
  const document = documentOf(request.body, KIND);
  const reading = new Reading();
  if (!Array.isArray(document)) {
    readPush(recordAt(document, KIND, 'the body'), settings, reading);
    return reading;
  }
  if (document.length > MAX_EVENTS)
    throw malformed(KIND, 'the body', `at most ${MAX_EVENTS} events`, `${document.length} events`);
  for (const [index, sent] of document.entries()) {
    const event = recordAt(sent, KIND, `[${index}]`);
    const data = recordAt(event.data, KIND, `[${index}].data`);
    if ((event.eventType ?? event.type) === VALIDATION) {
      const code = textAt(data.validationCode, KIND, `[${index}].data.validationCode`);
      return { pushes: [], ignored: ['other-action'], reply: { validationResponse: code } };
    }
    readPush(data, settings, reading);
  }
  return reading;
};

function readPush(event: Record<string, unknown>, settings: HookSettings, reading: Reading): void {
  if (textOf(event.action) !== 'push') {
    textAt(event.action, KIND, 'action');
    reading.ignore('other-action');
    return;
  }
  const target = recordAt(event.target, KIND, 'target');
  if (!isManifest(target.mediaType)) {
    reading.ignore('not-an-image');
    return;
  }
  reading.push({
    kind: KIND,
    registry: registryOf(settings, isRecord(event.request) ? event.request.host : undefined, KIND),
    repository: textAt(target.repository, KIND, 'target.repository'),
    ...optional('tag', target.tag),
    ...optional('digest', target.digest),
    ...optional('mediaType', target.mediaType),
    ...optional('at', event.timestamp),
  });
}
