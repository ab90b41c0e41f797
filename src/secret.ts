/** What may be shown of a key. Of one too short to be one nothing is: its end would be all of it. */
export function endOf(apiKey: string): string {
  return apiKey.length < 12 ? "set" : `ends in ${apiKey.slice(-4)}`;
}
