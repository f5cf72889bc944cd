#include "verifier/rpc/fleet_service.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/util/status_macros.h"
#include "verifier/rpc/fleet_messages.h"
#include "verifier/rpc/status.h"
#include "verifier/rpc/unary.h"
#include "verifier/rpc/write_queue.h"

namespace cupel::verifier {
namespace {

constexpr uint32_t kEventPageSize = 256;
// Of all tenants, each of which has its own bound.
constexpr size_t kMaxWatchers = 10'000;
// So often the watcher's certificate is looked at again, and the store too:
// another process may have written.
constexpr absl::Duration kWatchCheck = absl::Seconds(1);

// The selector of a watch, which may name agents that don't exist yet.
struct Selection {
  std::string agent_id;
  std::map<std::string, std::string> labels;
};

absl::StatusOr<Selection> ParseSelector(const v1::Selector& selector) {
  Selection selection;
  if (!selector.agent_id().empty()) {
    CUPEL_ASSIGN_OR_RETURN(const AgentId id,
                           AgentId::Parse(selector.agent_id()));
    selection.agent_id = id.ToString();
  }
  CUPEL_ASSIGN_OR_RETURN(selection.labels, LabelsFromProto(selector.labels()));
  return selection;
}

}  // namespace

// One Watch. Reads the store on the pool, one job at a time, and only once what
// it has read before is on its way: a slow reader costs a page of events.
class Watcher final : public grpc::ServerWriteReactor<v1::Event>,
                      public std::enable_shared_from_this<Watcher> {
 public:
  // `who` and `selection` may be errors, which end it.
  Watcher(FleetService& service, absl::StatusOr<OperatorIdentity> who,
          absl::StatusOr<Selection> selection, bool with_present,
          std::string peer)
      : service_(service),
        who_or_(std::move(who)),
        selection_or_(std::move(selection)),
        with_present_(with_present),
        peer_(std::move(peer)),
        key_(absl::StrCat("watch ", peer_)) {}

  // Looks for events, now or as soon as the last look is over.
  void Wake() {
    if (wanted_.exchange(true)) return;
    service_.surroundings_.pool.Post(key_, [self = shared_from_this()] {
      self->wanted_ = false;
      const absl::Status status =
          NoThrow<absl::Status>([&] { return self->Look(); });
      if (!status.ok()) self->End(status);
    });
  }

  void End(const absl::Status& status) {
    writes_.Finish(ToGrpc(status, kCall, service_.surroundings_.log),
                   /*at_once=*/true);
  }
  // Where the verifier ends by itself, which is nobody's failure.
  void GoAway() {
    writes_.Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE,
                                "the verifier is shutting down"),
                   /*at_once=*/true);
  }

  void OnWriteDone(bool ok) override {
    writes_.OnWriteDone(ok);
    if (writes_.size() == 0) Wake();
  }
  void OnCancel() override {
    writes_.Finish(grpc::Status(grpc::StatusCode::CANCELLED, ""),
                   /*at_once=*/true);
  }
  void OnDone() override { service_.Forget(shared_from_this()); }

  // Empty where the caller is not known, which ends it.
  std::string tenant() const {
    return who_or_.ok() ? who_or_->tenant : std::string();
  }

 private:
  absl::Status Look() {
    if (writes_.finishing()) return absl::OkStatus();
    const FleetService::Surroundings& around = service_.surroundings_;
    if (!admitted_) {
      CUPEL_RETURN_IF_ERROR(
          around.gate.Admit(who_or_, Access::kRead, kCall, peer_));
      CUPEL_RETURN_IF_ERROR(selection_or_.status());
      admitted_ = true;
    }
    CUPEL_RETURN_IF_ERROR(around.gate.Check(who()));
    around.scheduler.Cancel(timer_);
    const absl::Duration next = std::clamp(who().not_after - absl::Now(),
                                           absl::Milliseconds(1), kWatchCheck);
    timer_ = around.scheduler.After(next, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Wake();
    });
    if (!sequence_.has_value()) {
      // First where the events begin, then what is: nothing is missed.
      CUPEL_ASSIGN_OR_RETURN(sequence_, around.store.LastEventSequence());
    }
    // Page by page, as the peer takes them: what it does not read takes no
    // memory.
    while (with_present_ && writes_.size() == 0 && !writes_.finishing()) {
      CUPEL_RETURN_IF_ERROR(SendPresent());
    }
    if (with_present_) return absl::OkStatus();
    while (writes_.size() == 0 && !writes_.finishing()) {
      CUPEL_ASSIGN_OR_RETURN(
          const std::vector<AgentEvent> events,
          around.store.EventsAfter(who().tenant, *sequence_, kEventPageSize));
      if (events.empty()) break;
      for (const AgentEvent& event : events) {
        sequence_ = event.sequence;
        if (IsSelected(event.id)) writes_.Push(ToProto(event));
      }
    }
    return absl::OkStatus();
  }

  // The next page; after the last one with_present_ is false.
  absl::Status SendPresent() {
    v1::Selector selector;
    selector.set_agent_id(selection().agent_id);
    for (const auto& [key, value] : selection().labels) {
      (*selector.mutable_labels())[key] = value;
    }
    FleetCommands& commands = service_.surroundings_.commands;
    auto page = commands.Page(who().tenant, selector, /*default_all=*/true,
                              present_until_);
    if (absl::IsNotFound(page.status())) page = std::vector<AgentRecord>();
    CUPEL_RETURN_IF_ERROR(page.status());
    with_present_ = !page->empty();
    for (const AgentRecord& agent : *page) {
      present_until_ = agent.id;
      const v1::Agent shown = commands.Show(agent, Detail::kSummary);
      v1::Event event;
      SetProto(service_.surroundings_.store.Now(), *event.mutable_time());
      event.set_agent_id(shown.agent_id());
      event.set_state(shown.state());
      *event.mutable_findings() = shown.findings();
      event.set_text(shown.state_reason());
      writes_.Push(std::move(event));
    }
    return absl::OkStatus();
  }

  bool IsSelected(const AgentId& id) {
    if (!selection().agent_id.empty() &&
        id.ToString() != selection().agent_id) {
      return false;
    }
    if (selection().labels.empty()) return true;
    const auto agent = service_.surroundings_.store.GetAgent(who().tenant, id);
    return agent.ok() &&
           std::ranges::all_of(selection().labels, [&](const auto& label) {
             const auto found = agent->settings.labels.find(label.first);
             return found != agent->settings.labels.end() &&
                    found->second == label.second;
           });
  }

  static constexpr char kCall[] = "Fleet.Watch";

  // Once admitted.
  const OperatorIdentity& who() const { return *who_or_; }
  const Selection& selection() const { return *selection_or_; }

  FleetService& service_;
  const absl::StatusOr<OperatorIdentity> who_or_;
  const absl::StatusOr<Selection> selection_or_;
  bool with_present_;  // until all of them are on their way
  std::optional<AgentId> present_until_;
  const std::string peer_;
  const std::string key_;
  WriteQueue<Watcher, v1::Event> writes_{*this};
  std::atomic<bool> wanted_ = false;
  // Of the pool's jobs.
  bool admitted_ = false;
  std::optional<uint64_t> sequence_;
  Scheduler::Id timer_ = 0;
};

FleetService::FleetService(const Surroundings& surroundings)
    : surroundings_(surroundings) {}
FleetService::~FleetService() = default;

void FleetService::OnStoreChange() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const std::shared_ptr<Watcher>& watcher : watchers_) watcher->Wake();
}

void FleetService::EndWatches() {
  // Not under the lock: what ends a stream may have it forgotten at once.
  std::vector<std::shared_ptr<Watcher>> watchers;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
    watchers.assign(watchers_.begin(), watchers_.end());
  }
  for (const std::shared_ptr<Watcher>& watcher : watchers) watcher->GoAway();
}

void FleetService::Forget(const std::shared_ptr<Watcher>& watcher) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (watchers_.erase(watcher) == 0) return;
  const auto found = watchers_by_tenant_.find(watcher->tenant());
  if (--found->second == 0) watchers_by_tenant_.erase(found);
}

template <typename Request, typename Reply, typename Command>
grpc::ServerUnaryReactor* FleetService::Run(
    grpc::CallbackServerContext* context, const Request* request, Reply* reply,
    absl::string_view call, Access access, Command command) {
  return RunUnary(context, reply, call, context->peer(), surroundings_.pool,
                  surroundings_.log, [=, this]() -> absl::StatusOr<Reply> {
                    const auto who = OperatorGate::Identify(*context);
                    CUPEL_RETURN_IF_ERROR(surroundings_.gate.Admit(
                        who, access, call, context->peer()));
                    absl::StatusOr<Reply> result =
                        command(surroundings_.commands, *who, *request);
                    if (access == Access::kChange) {
                      LogChange(*who, call, result.status(), surroundings_.log);
                    }
                    return result;
                  });
}

grpc::ServerUnaryReactor* FleetService::AddAgent(
    grpc::CallbackServerContext* context, const v1::AddAgentRequest* request,
    v1::AddAgentReply* reply) {
  return Run(
      context, request, reply, "Fleet.AddAgent", Access::kChange,
      [](auto& to, const auto& who, const auto& r) { return to.Add(who, r); });
}

grpc::ServerUnaryReactor* FleetService::UpdateAgents(
    grpc::CallbackServerContext* context, const v1::UpdateAgentRequest* request,
    v1::UpdateAgentReply* reply) {
  return Run(context, request, reply, "Fleet.UpdateAgents", Access::kChange,
             [](auto& to, const auto& who, const auto& r) {
               return to.Update(who, r);
             });
}

grpc::ServerUnaryReactor* FleetService::DeleteAgent(
    grpc::CallbackServerContext* context, const v1::DeleteAgentRequest* request,
    v1::DeleteAgentReply* reply) {
  return Run(context, request, reply, "Fleet.DeleteAgent", Access::kChange,
             [](auto& to, const auto& who, const auto& r) {
               return to.Delete(who, r);
             });
}

grpc::ServerUnaryReactor* FleetService::GetAgent(
    grpc::CallbackServerContext* context, const v1::GetAgentRequest* request,
    v1::Agent* reply) {
  return Run(
      context, request, reply, "Fleet.GetAgent", Access::kRead,
      [](auto& to, const auto& who, const auto& r) { return to.Get(who, r); });
}

grpc::ServerUnaryReactor* FleetService::ListAgents(
    grpc::CallbackServerContext* context, const v1::ListAgentsRequest* request,
    v1::ListAgentsReply* reply) {
  return Run(
      context, request, reply, "Fleet.ListAgents", Access::kRead,
      [](auto& to, const auto& who, const auto& r) { return to.List(who, r); });
}

grpc::ServerUnaryReactor* FleetService::ListEnrolled(
    grpc::CallbackServerContext* context,
    const v1::ListEnrolledRequest* request, v1::ListEnrolledReply* reply) {
  return Run(context, request, reply, "Fleet.ListEnrolled", Access::kRead,
             [](auto& to, const auto& who, const auto&) {
               return to.ListEnrolled(who);
             });
}

grpc::ServerUnaryReactor* FleetService::Reactivate(
    grpc::CallbackServerContext* context, const v1::ReactivateRequest* request,
    v1::ReactivateReply* reply) {
  return Run(context, request, reply, "Fleet.Reactivate", Access::kChange,
             [](auto& to, const auto& who, const auto& r) {
               return to.Reactivate(who, r);
             });
}

grpc::ServerUnaryReactor* FleetService::Stop(
    grpc::CallbackServerContext* context, const v1::StopRequest* request,
    v1::StopReply* reply) {
  return Run(
      context, request, reply, "Fleet.Stop", Access::kChange,
      [](auto& to, const auto& who, const auto& r) { return to.Stop(who, r); });
}

grpc::ServerUnaryReactor* FleetService::AttestNow(
    grpc::CallbackServerContext* context, const v1::AttestNowRequest* request,
    v1::AttestNowReply* reply) {
  return Run(context, request, reply, "Fleet.AttestNow", Access::kChange,
             [](auto& to, const auto& who, const auto& r) {
               return to.AttestNow(who, r);
             });
}

grpc::ServerUnaryReactor* FleetService::CreateToken(
    grpc::CallbackServerContext* context, const v1::CreateTokenRequest* request,
    v1::CreateTokenReply* reply) {
  return Run(context, request, reply, "Fleet.CreateToken", Access::kChange,
             [](auto& to, const auto& who, const auto& r) {
               return to.CreateToken(who, r);
             });
}

grpc::ServerUnaryReactor* FleetService::AllowEks(
    grpc::CallbackServerContext* context, const v1::AllowEksRequest* request,
    v1::AllowEksReply* reply) {
  return Run(context, request, reply, "Fleet.AllowEks", Access::kChange,
             [](auto& to, const auto& who, const auto& r) {
               return to.AllowEks(who, r);
             });
}

grpc::ServerUnaryReactor* FleetService::ListAllowedEks(
    grpc::CallbackServerContext* context,
    const v1::ListAllowedEksRequest* request, v1::ListAllowedEksReply* reply) {
  return Run(context, request, reply, "Fleet.ListAllowedEks", Access::kRead,
             [](auto& to, const auto& who, const auto& r) {
               return to.ListAllowedEks(who, r);
             });
}

grpc::ServerWriteReactor<v1::Event>* FleetService::Watch(
    grpc::CallbackServerContext* context, const v1::WatchRequest* request) {
  class Refused final : public grpc::ServerWriteReactor<v1::Event> {
   public:
    explicit Refused(const grpc::Status& status) { Finish(status); }
    void OnDone() override { delete this; }
  };
  auto watcher =
      std::make_shared<Watcher>(*this, OperatorGate::Identify(*context),
                                ParseSelector(request->selector()),
                                request->with_present(), context->peer());
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (ending_) {
      return new Refused({grpc::StatusCode::UNAVAILABLE, "ending"});
    }
    if (watchers_.size() >= kMaxWatchers) {
      return new Refused(
          {grpc::StatusCode::RESOURCE_EXHAUSTED,
           absl::StrCat("the verifier has ", kMaxWatchers,
                        " watches of all its tenants, and takes no more: end "
                        "one first")});
    }
    size_t& count = watchers_by_tenant_[watcher->tenant()];
    if (count >= surroundings_.max_watches_per_tenant) {
      return new Refused(
          {grpc::StatusCode::RESOURCE_EXHAUSTED,
           absl::StrCat("the tenant has ", count,
                        " watches, and as many are what it may have "
                        "(max_watches_per_tenant): end one first")});
    }
    ++count;
    watchers_.insert(watcher);
  }
  watcher->Wake();
  return watcher.get();
}

}  // namespace cupel::verifier
