/**
 * The lists of piece hashes of layers (docs/formats.md §9), made with the layer or, for a layer that is taken over from an
 * earlier run, kept with it.
 */
import { PieceHasher } from '../../formats/piece-list/piece-hasher.ts';
import { encodePieceList, PIECE_LIST_ANNOTATION, PIECE_LIST_MEDIA_TYPE } from '../../formats/piece-list/piece-list.ts';
import { digestOf } from '../../oci/digest.ts';
import { layerMediaType } from '../../oci/media-types.ts';
import { pieceListOf } from '../../reader/layer-piece-list.ts';
import type { ConvertRequest } from '../options.ts';
import type { CachedBlob } from '../publish/layer-record.ts';
import { putBytes } from '../publish/push-document.ts';
import type { Session } from '../session.ts';

/** Whether layers get lists: unless the request says otherwise. */
export function wantsPieceLists({ pieceList }: Pick<ConvertRequest, 'pieceList'>): boolean {
  return pieceList !== false;
}

/** The annotation of a layer with this list, if it has one. */
export function pieceListAnnotation(list: Uint8Array | undefined): Readonly<Record<string, string>> {
  return list === undefined ? {} : { [PIECE_LIST_ANNOTATION]: digestOf(list) };
}

/**
 * A layer that is taken over, with its list or without, as the request wants it. A list that is not in the target (an
 * earlier run made none, or the registry collected it) is made by reading the layer there, so that the manifest does not
 * depend on what earlier runs left.
 */
export async function withPieceList(session: Session, blob: CachedBlob): Promise<CachedBlob> {
  const { target, request, signal } = session;
  const { [PIECE_LIST_ANNOTATION]: _, ...bare } = blob.annotations;
  if (!wantsPieceLists(request)) return { ...blob, annotations: bare };
  const known = pieceListOf(blob);
  if (known !== undefined && (await target.exists(known, { signal }))) return blob;
  const hasher = new PieceHasher();
  const descriptor = { ...blob, mediaType: layerMediaType('oci', blob.compression) };
  for await (const chunk of await target.fetch(descriptor, { signal, transient: true })) hasher.update(chunk);
  const list = encodePieceList(hasher.finish());
  await putBytes(session, list, PIECE_LIST_MEDIA_TYPE);
  return { ...blob, annotations: { ...bare, ...pieceListAnnotation(list) } };
}
