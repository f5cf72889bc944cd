#include "verifier/session/session_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace cupel::verifier {
namespace {

template <typename Map, typename Key>
void CountDown(Map& map, const Key& key) {
  const auto found = map.find(key);
  if (found != map.end() && --found->second == 0) map.erase(found);
}

}  // namespace

SessionTable::Ticket::Ticket(SessionTable& table, std::string address,
                             std::function<void()> displaced)
    : table_(table),
      address_(std::move(address)),
      displaced_(std::move(displaced)) {}

SessionTable::Ticket::~Ticket() {
  const std::lock_guard<std::mutex> lock(table_.mutex_);
  if (proven_) {
    const auto place = table_.proven_.find(*agent_);
    if (place != table_.proven_.end() && place->second == this) {
      table_.proven_.erase(place);
    }
    return;
  }
  --table_.unproven_;
  CountDown(table_.unproven_by_address_, address_);
  if (agent_.has_value()) {
    CountDown(table_.unproven_by_agent_, std::pair(*agent_, address_));
  }
}

absl::Status SessionTable::Ticket::Name(const AgentId& agent) {
  const std::lock_guard<std::mutex> lock(table_.mutex_);
  if (agent_.has_value()) {
    return absl::FailedPreconditionError("the stream has named its agent");
  }
  // The entry is made only where it is counted.
  const auto found = table_.unproven_by_agent_.find({agent, address_});
  if (found != table_.unproven_by_agent_.end() &&
      found->second >= table_.limits_.max_unproven_per_agent) {
    return absl::ResourceExhaustedError(
        "too many streams that say they are this agent and have not shown it");
  }
  ++table_.unproven_by_agent_[{agent, address_}];
  agent_ = agent;
  return absl::OkStatus();
}

void SessionTable::Ticket::NoteLive() {
  const std::lock_guard<std::mutex> lock(table_.mutex_);
  if (!agent_.has_value()) return;
  const auto place = table_.proven_.find(*agent_);
  if (place != table_.proven_.end()) found_live_ = place->second->stream_;
}

SessionTable::Proof SessionTable::Ticket::Prove(absl::string_view ak_name,
                                                Lineage lineage,
                                                absl::Time now) {
  const std::lock_guard<std::mutex> lock(table_.mutex_);
  Proof proof;
  if (proven_ || !agent_.has_value()) return proof;
  proven_ = true;
  stream_ = std::move(lineage.stream);
  --table_.unproven_;
  CountDown(table_.unproven_by_address_, address_);
  CountDown(table_.unproven_by_agent_, std::pair(*agent_, address_));
  table_.Forget(now);

  const Ticket*& place = table_.proven_[*agent_];
  if (place != nullptr) {
    place->displaced_();
    found_live_ = place->stream_;
  }
  proof.displaced = found_live_.has_value();
  if (proof.displaced && std::ranges::find(lineage.previous, *found_live_) ==
                             lineage.previous.end()) {
    Displacements& seen = table_.displacements_[*agent_];
    if (seen.ak_name != ak_name) {
      seen = {.ak_name = std::string(ak_name), .times = {}};
    }
    seen.times.push_back(now);
    proof.clone_suspected =
        seen.times.size() >= table_.limits_.clone_displacements;
  }
  place = this;
  return proof;
}

void SessionTable::Forget(absl::Time now) {
  absl::erase_if(displacements_, [&](auto& one) {
    std::deque<absl::Time>& times = one.second.times;
    while (!times.empty() && times.front() + limits_.clone_window < now) {
      times.pop_front();
    }
    return times.empty();
  });
}

absl::StatusOr<std::unique_ptr<SessionTable::Ticket>> SessionTable::Open(
    absl::string_view address, std::function<void()> displaced) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (unproven_ >= limits_.max_unproven) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "there are ", unproven_, " streams that have not shown a quote"));
  }
  const auto found = unproven_by_address_.find(address);
  if (found != unproven_by_address_.end() &&
      found->second >= limits_.max_unproven_per_address) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", found->second,
                     " streams of this address that have not shown a quote"));
  }
  ++unproven_;
  ++unproven_by_address_[address];
  return std::unique_ptr<Ticket>(
      new Ticket(*this, std::string(address), std::move(displaced)));
}

size_t SessionTable::unproven_count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return unproven_;
}

size_t SessionTable::proven_count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return proven_.size();
}

}  // namespace cupel::verifier
