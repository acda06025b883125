/** Flights that callers with different credentials share, and the failures that decide who is asked next. */
import type { Refusal as NodeRefusal } from '../peers/topology.ts';
import type { Urgency } from '../urgency.ts';
import { OriginFailure } from './origin-failure.ts';
import type { Piece } from './piece.ts';
import { PIECE_MEMORY } from './piece-memory.ts';
import type { FlightWork, Sharing, SingleFlight } from './single-flight.ts';

/** Each who waits holds the piece's memory; the flight's own hold ends after them. */
export const SHARED_PIECES: Sharing<Piece> = {
  share: (piece) => PIECE_MEMORY.share(piece),
  letGo: (piece) => {
    PIECE_MEMORY.letGo(piece);
    PIECE_MEMORY.letGo(piece.bytes);
  },
};

/** The failure of an origin; throws any other error. */
export function asFailure(error: unknown): OriginFailure {
  if (error instanceof OriginFailure) return error;
  throw error;
}

/** A node of the tree failed at the origin with its own credential: it does not have the piece. */
export function asAbsent(error: unknown): NodeRefusal {
  asFailure(error);
  return 'absent';
}

/** Whether an answer is the piece. */
export function isPiece(got: Piece | NodeRefusal): got is Piece {
  return typeof got === 'object' && 'bytes' in got;
}

/** The place for which a flight failed. */
const FAILED_FOR = new WeakMap<OriginFailure, string>();

/**
 * Runs or joins a flight. One that was joined may have gone with another caller's credential, or to another place that a caller
 * made up: where the origin refused that, or failed for another place, it is asked once more for this caller.
 */
export async function shared(
  flights: SingleFlight<Piece>,
  key: string,
  work: FlightWork<Piece>,
  { signal, urgency, url }: { readonly signal: AbortSignal | undefined; readonly urgency: Urgency; readonly url: URL },
): Promise<Piece> {
  const place = `${url.host}${url.pathname}`;
  for (let name = key; ; ) {
    let own = false;
    try {
      return await flights.run(
        name,
        (landed, urgent, course) => {
          own = true;
          return work(landed, urgent, course).catch((error: unknown) => {
            if (error instanceof OriginFailure && !FAILED_FOR.has(error)) FAILED_FOR.set(error, place);
            throw error;
          });
        },
        signal,
        urgency,
      );
    } catch (error) {
      if (own || !(error instanceof OriginFailure)) throw error;
      const isElsewhere = FAILED_FOR.get(error) !== place;
      if (!isElsewhere && error.status !== 401 && error.status !== 403) throw error;
      if (isElsewhere) name = `${key} at ${place}`;
    }
  }
}

/** Whether asking elsewhere cannot help: the origin has refused or does not have it. */
export function isFinal(failure: OriginFailure | undefined): boolean {
  return failure !== undefined && [401, 403, 404, 410].includes(failure.status);
}
