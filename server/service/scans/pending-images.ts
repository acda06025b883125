/** Images that are about to be converted, or looked at: prune leaves what was made of them alone. */
import type { ConversionOrder } from '../conversion.ts';
import type { PushEvent } from '../push-event.ts';
import { type Job, MAX_PAGE, type Queue, type Topic } from '../queue.ts';

/** Says whether an image, `host[:port]/repository:tag`, is about to be converted or looked at. */
export type PendingImages = (image: string) => boolean;

/** Pages of jobs that are read; where there are more, every image counts as pending. */
const MAX_PAGES = 200;

/** Reads them from the queue. */
export async function pendingImages(queue: Queue): Promise<PendingImages> {
  const images = new Set<string>();
  for (const topic of ['convert', 'event'] satisfies Topic[]) {
    for (const state of ['waiting', 'running'] as const) {
      let after: string | undefined;
      for (let page = 0; ; page++) {
        if (page === MAX_PAGES) return () => true;
        const jobs = await queue.list({ topic, state, limit: MAX_PAGE, ...(after === undefined ? {} : { after }) });
        for (const job of jobs) images.add(imageOf(job));
        if (jobs.length < MAX_PAGE) break;
        after = jobs.at(-1)?.id;
      }
    }
  }
  return (image) => images.has(image);
}

function imageOf({ repository, data }: Job): string {
  const { tag } = data as unknown as Pick<ConversionOrder, 'tag'> | PushEvent;
  return `${repository}:${tag ?? ''}`;
}
