#include "verifier/rpc/metrics.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "prometheus/collectable.h"
#include "prometheus/counter.h"
#include "prometheus/exposer.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"

namespace cupel::verifier {
namespace {

const char* VerdictName(appraisal::Verdict verdict) {
  switch (verdict) {
    case appraisal::Verdict::kPass:
      return "pass";
    case appraisal::Verdict::kFail:
      return "fail";
    case appraisal::Verdict::kUndecided:
      break;
  }
  return "undecided";
}

prometheus::MetricFamily Gauge(const char* name, const char* help) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = prometheus::MetricType::Gauge;
  return family;
}

void AddValue(double value, prometheus::MetricFamily& family,
              std::vector<prometheus::ClientMetric::Label> labels = {}) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  metric.gauge.value = value;
}

prometheus::MetricFamily Gauge(const char* name, const char* help,
                               double value) {
  prometheus::MetricFamily family = Gauge(name, help);
  AddValue(value, family);
  return family;
}

constexpr AgentState kStates[] = {AgentState::kExpected, AgentState::kEnrolled,
                                  AgentState::kPending,  AgentState::kTrusted,
                                  AgentState::kFailed,   AgentState::kStopped};

std::vector<prometheus::MetricFamily> ToFamilies(
    const Metrics::Gauges& gauges) {
  std::vector<prometheus::MetricFamily> families;
  if (gauges.agents.has_value()) {
    prometheus::MetricFamily& agents =
        families.emplace_back(Gauge("cupel_agents", "Agents by state"));
    // All of them: one that is missing reads as unknown, and not as zero.
    for (const AgentState state : kStates) {
      const auto found = gauges.agents->find(state);
      AddValue(found == gauges.agents->end()
                   ? 0
                   : static_cast<double>(found->second),
               agents, {{"state", std::string(AgentStateName(state))}});
    }
  }
  families.push_back(Gauge("cupel_streams", "Open attestation streams",
                           static_cast<double>(gauges.streams)));
  prometheus::MetricFamily& queues =
      families.emplace_back(Gauge("cupel_queue_depth", "Jobs that wait"));
  AddValue(static_cast<double>(gauges.agent_queue), queues, {{"of", "agents"}});
  AddValue(static_cast<double>(gauges.operator_queue), queues,
           {{"of", "operators"}});
  families.push_back(
      Gauge("cupel_certificate_expiry_timestamp_seconds",
            "When the certificate that is served ends",
            static_cast<double>(absl::ToUnixSeconds(gauges.certificate_end))));
  families.push_back(
      Gauge("cupel_certificate_stale",
            "1 while the certificate's files hold what can't be served",
            gauges.certificate_stale ? 1 : 0));
  return families;
}

// What is asked for at each reading.
class GaugeReader final : public prometheus::Collectable {
 public:
  void Set(std::function<Metrics::Gauges()> reader) {
    const std::lock_guard<std::mutex> lock(mutex_);
    reader_ = std::move(reader);
  }

  std::vector<prometheus::MetricFamily> Collect() const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!reader_) return {};
    // Nothing thrown may get into the library's thread.
    try {
      return ToFamilies(reader_());
    } catch (const std::exception&) {
      return {};
    }
  }

 private:
  mutable std::mutex mutex_;  // guards reader_, and is held while it runs
  std::function<Metrics::Gauges()> reader_;
};

prometheus::Histogram& Latency(prometheus::Registry& registry, const char* name,
                               const char* help) {
  return prometheus::BuildHistogram()
      .Name(name)
      .Help(help)
      .Register(registry)
      .Add({},
           prometheus::Histogram::BucketBoundaries{
               0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10});
}

}  // namespace

struct Metrics::Implementation {
  std::shared_ptr<prometheus::Registry> registry =
      std::make_shared<prometheus::Registry>();
  std::shared_ptr<GaugeReader> gauges = std::make_shared<GaugeReader>();
  prometheus::Family<prometheus::Counter>& attestations =
      prometheus::BuildCounter()
          .Name("cupel_attestations_total")
          .Help("Appraisals by verdict")
          .Register(*registry);
  prometheus::Family<prometheus::Counter>& enrollments =
      prometheus::BuildCounter()
          .Name("cupel_enrollments_total")
          .Help("Enrolments by result")
          .Register(*registry);
  prometheus::Family<prometheus::Counter>& store_errors =
      prometheus::BuildCounter()
          .Name("cupel_store_errors_total")
          .Help("Calls that the store failed")
          .Register(*registry);
  prometheus::Histogram& appraisal =
      Latency(*registry, "cupel_appraisal_seconds",
              "From complete evidence to what it says");
  prometheus::Histogram& attestation =
      Latency(*registry, "cupel_attestation_seconds",
              "From complete evidence to a stored verdict");
  std::unique_ptr<prometheus::Exposer> exposer;
};

Metrics::Metrics() : implementation_(std::make_unique<Implementation>()) {
  // What nobody has seen yet is zero, and not unknown.
  implementation_->store_errors.Add({{"call", "RecordVerdict"}});
}
Metrics::~Metrics() { Stop(); }

void Metrics::CountAppraisal(appraisal::Verdict verdict,
                             absl::Duration latency) {
  implementation_->attestations.Add({{"verdict", VerdictName(verdict)}})
      .Increment();
  implementation_->appraisal.Observe(absl::ToDoubleSeconds(latency));
}

void Metrics::CountAttestation(absl::Duration latency) {
  implementation_->attestation.Observe(absl::ToDoubleSeconds(latency));
}

void Metrics::CountStoreError(absl::string_view call) {
  implementation_->store_errors.Add({{"call", std::string(call)}}).Increment();
}

void Metrics::CountEnrollment(bool ok) {
  implementation_->enrollments.Add({{"result", ok ? "ok" : "refused"}})
      .Increment();
}

void Metrics::SetGauges(std::function<Gauges()> reader) {
  implementation_->gauges->Set(std::move(reader));
}

std::string Metrics::Text() const {
  std::vector<prometheus::MetricFamily> families =
      implementation_->registry->Collect();
  for (prometheus::MetricFamily& family : implementation_->gauges->Collect()) {
    families.push_back(std::move(family));
  }
  return prometheus::TextSerializer().Serialize(families);
}

absl::StatusOr<int> Metrics::Serve(absl::string_view address, int port) {
  const std::string where = absl::StrCat(address, ":", port);
  try {
    implementation_->exposer =
        std::make_unique<prometheus::Exposer>(where, /*num_threads=*/1);
    implementation_->exposer->RegisterCollectable(implementation_->registry);
    implementation_->exposer->RegisterCollectable(implementation_->gauges);
    return implementation_->exposer->GetListeningPorts().at(0);
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat(
        "metrics_listen: ", where, " can't be listened on: ", error.what()));
  }
}

void Metrics::Stop() { implementation_->exposer.reset(); }

}  // namespace cupel::verifier
