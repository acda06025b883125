/**
 * Events of Amazon ECR from EventBridge, sent to an HTTP target (an API destination). Source: Amazon's documentation, "Amazon ECR events
 * and EventBridge": `detail-type: ECR Image Action` with `detail {action-type, result, repository-name, image-tag, image-digest}`.
 */
import { type Hook, isManifest, malformed, objectOf, optional, Reading, recordAt, registryOf, textAt } from './hook.ts';

const KIND = 'ecr';

/** Reads an event. */
export const readEcr: Hook = (request, settings) => {
  const body = objectOf(request, KIND);
  const reading = new Reading();
  if (textAt(body['detail-type'], KIND, 'detail-type') !== 'ECR Image Action') return reading.ignore('other-action');
  const detail = recordAt(body.detail, KIND, 'detail');
  if (detail['action-type'] !== 'PUSH' || detail.result !== 'SUCCESS') return reading.ignore('other-action');
  const mediaType = detail['manifest-media-type'];
  if (!isManifest(mediaType)) return reading.ignore('not-an-image');
  return reading.push({
    kind: KIND,
    registry: registryOf(settings, hostOf(body), KIND),
    repository: textAt(detail['repository-name'], KIND, 'detail.repository-name'),
    ...optional('tag', detail['image-tag']),
    ...optional('digest', detail['image-digest']),
    ...optional('mediaType', mediaType),
    ...optional('at', body.time),
  });
};

/** The private registry of an account in a region. */
function hostOf(body: Record<string, unknown>): string {
  const account = textAt(body.account, KIND, 'account');
  const region = textAt(body.region, KIND, 'region');
  if (!/^\d{12}$/.test(account)) throw malformed(KIND, 'account', 'twelve digits', account);
  if (!/^[a-z0-9-]{1,32}$/.test(region)) throw malformed(KIND, 'region', 'a region such as eu-central-1', region);
  return `${account}.dkr.ecr.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
}
