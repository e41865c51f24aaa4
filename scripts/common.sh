# What the set-up scripts share. Source it from the top of the repository.

# One line to say that a step begins; silent steps had nothing to do.
step() { echo "==> $*"; }

# fail CAUSE MEND: the two lines that every error here has.
fail() {
  echo "error: $1" >&2
  echo "       $2" >&2
  exit 1
}

# quietly MEND COMMAND...: show nothing of a command unless it fails; then its last words, the likely cause, the mend.
quietly() {
  local mend=$1 log
  shift
  log=$(mktemp)
  if "$@" >"$log" 2>&1; then
    rm -f "$log"
    return
  fi
  explain "$log" "$1 failed" "$mend"
}

# explain LOG CAUSE MEND: print what a failed command said last, and name what people can do something about.
explain() {
  local log=$1 cause=$2 mend=$3
  tail -15 "$log" | sed 's/^/  | /' >&2
  if grep -qiE 'no space left|ENOSPC' "$log"; then
    cause+=": the disk is full" mend="Free some space ($(df -h --output=avail . | tail -1 | tr -d ' ') is left here) and run this again."
  elif grep -qiE 'resol(v|ution)|getaddrinfo|EAI_AGAIN|ENOTFOUND|unreachable|timed? ?out|connection (refused|reset|failed)|connect to' "$log"; then
    cause+=": no way to the network" mend="Check the connection, the name server and any proxy, and run this again."
  elif grep -qiE 'certificate|SSL' "$log"; then
    cause+=": a certificate is not trusted" mend="Check this machine's clock and its ca-certificates, and run this again."
  fi
  rm -f "$log"
  fail "$cause" "$mend"
}
