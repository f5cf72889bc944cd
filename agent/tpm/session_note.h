// What a process writes down about the session that it opens, so that the next
// one can flush it where the first was killed.
//
// Format: words parted by blanks or line feeds, the handles as hex:
//   "policy-session" handle "reset" count "restart" count
//   "policy-session" "new" "reset" count "restart" count "beside" *handle
// Trust: the file is the agent's own, and is read as if it were anybody's. What
// it leads to is bounded by SessionNote::FlushNoted.
#ifndef CUPEL_AGENT_TPM_SESSION_NOTE_H_
#define CUPEL_AGENT_TPM_SESSION_NOTE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace cupel::agent {

struct NotedSession {
  std::optional<uint32_t> session;  // nullopt: it was about to be opened
  uint32_t reset_count = 0;
  uint32_t restart_count = 0;
  // The sessions that were there before; of one about to be opened alone.
  std::vector<uint32_t> beside = {};

  friend bool operator==(const NotedSession&, const NotedSession&) = default;
};

// nullopt for what is no note, such as an empty file.
std::optional<NotedSession> ParseNotedSession(absl::string_view text);

// What ParseNotedSession reads.
std::string ShowNotedSession(const NotedSession& note);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_TPM_SESSION_NOTE_H_
