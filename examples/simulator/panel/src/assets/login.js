// A link from another site comes without the session's cookie: a page of this site sends it, and goes on to where the link leads.
const next = document.querySelector("input[name=next]")?.value;
if (next) {
  const answer = await fetch("/session").catch(() => null);
  if (answer?.status === 204) location.replace(next);
}
