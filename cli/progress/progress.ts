/** The contract of a display: converter events in, something for people out. */
import type { EventSink } from '../../converter/events.ts';

/** A running display of a conversion. */
export interface Progress {
  /** Shows one event; never throws. */
  readonly onEvent: EventSink;
  /** Ends the display: removes what is only for the time of the run. */
  stop(): void;
}

/** Verbosity of the display: warnings only, important events, or all. No display leaves out a warning. */
export type Verbosity = 'warnings' | 'normal' | 'verbose';
