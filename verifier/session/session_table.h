// Which streams there are: limits for those that have proven nothing, and one
// proven stream an agent.
#ifndef CUPEL_VERIFIER_SESSION_SESSION_TABLE_H_
#define CUPEL_VERIFIER_SESSION_SESSION_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/util/agent_id.h"

namespace cupel::verifier {

struct SessionLimits {
  // Streams that have not shown a valid quote yet [A15]. Those that say they
  // are one agent are counted by address, or anybody could lock it out.
  size_t max_unproven = 2000;
  size_t max_unproven_per_address = 100;
  size_t max_unproven_per_agent = 4;
  // So many proven streams of one AK, each of which displaces a live one of
  // another process, within this time are two machines that take turns [A33].
  // An agent that is killed may leave one behind now and then.
  size_t clone_displacements = 3;
  absl::Duration clone_window = absl::Minutes(1);
};

// Thread-safe. Must outlive its tickets.
class SessionTable {
 public:
  struct Proof {
    // A live stream of the agent had to go for this one.
    bool displaced = false;
    // And it wasn't the first one: the streams alternate.
    bool clone_suspected = false;
  };

  // How the streams of one agent's process are told from those of another
  // machine that has its TPM's state. A stream is known by the nonce of its
  // first challenge, which nobody but its peer has seen.
  struct Lineage {
    std::vector<uint8_t> stream;
    // Those that the peer says it had before.
    std::vector<std::vector<uint8_t>> previous;
  };

  // A stream's place; given up when destroyed. Used by one thread at a time.
  class Ticket {
   public:
    ~Ticket();
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;

    // The stream says that it is this agent. kResourceExhausted if too many
    // unproven ones of its address do; kFailedPrecondition if it has said so
    // before.
    absl::Status Name(const AgentId& agent);
    // It has shown a quote, and its agent is about to be claimed: whoever has
    // the agent now may hear of that, and leave, before Prove.
    void NoteLive();
    // It has shown a quote by the AK `ak_name` of the agent that it named: it
    // is unproven no more, and displaces the stream that was there, whose
    // `displaced` is called before this returns. One that the peer had itself
    // was left behind by a connection that broke, and proves no second machine.
    Proof Prove(absl::string_view ak_name, Lineage lineage, absl::Time now);

   private:
    friend class SessionTable;
    Ticket(SessionTable& table, std::string address,
           std::function<void()> displaced);

    SessionTable& table_;
    const std::string address_;
    const std::function<void()> displaced_;
    std::optional<AgentId> agent_;
    bool proven_ = false;
    std::vector<uint8_t> stream_;
    // The stream that had the agent when this one was about to claim it.
    std::optional<std::vector<uint8_t>> found_live_;
  };

  explicit SessionTable(const SessionLimits& limits) : limits_(limits) {}

  // Admits an unproven stream from `address`. `displaced` is called at most
  // once, by any thread and under this table's lock: it must only pass it on
  // (post a job that calls Session::OnDisplaced). kResourceExhausted where
  // there are too many, of that address or in all.
  absl::StatusOr<std::unique_ptr<Ticket>> Open(absl::string_view address,
                                               std::function<void()> displaced);

  size_t unproven_count() const;
  size_t proven_count() const;

 private:
  struct Displacements {
    std::string ak_name;
    std::deque<absl::Time> times;
  };

  void Forget(absl::Time now);  // under mutex_

  const SessionLimits limits_;
  mutable std::mutex mutex_;  // guards all below
  size_t unproven_ = 0;
  absl::flat_hash_map<std::string, size_t> unproven_by_address_;
  absl::flat_hash_map<std::pair<AgentId, std::string>, size_t>
      unproven_by_agent_;
  absl::flat_hash_map<AgentId, const Ticket*> proven_;
  absl::flat_hash_map<AgentId, Displacements> displacements_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_SESSION_TABLE_H_
