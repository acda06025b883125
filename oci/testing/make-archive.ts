/** An oci-archive with one image, for tests. */
import { pushImage } from '../contract.ts';
import { openArchive } from '../open-archive.ts';

/** Writes an archive with one image under `tag` to `file`, beside what it holds; answers what was pushed. */
export async function makeArchive(file: string, label: string, tag: string): ReturnType<typeof pushImage> {
  const target = await openArchive(file, 'oci', { create: true });
  const image = await pushImage(target, label);
  await target.tag(image.descriptor, tag);
  await target.close();
  return image;
}
