#include "verifier/rpc/metrics.h"

#include <algorithm>
#include <exception>
#include <map>
#include <mutex>
#include <utility>

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

prometheus::MetricFamily Gauge(const char* name, const char* help,
                               double value) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = prometheus::MetricType::Gauge;
  prometheus::ClientMetric metric;
  metric.gauge.value = value;
  family.metric.push_back(std::move(metric));
  return family;
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
    const Metrics::Gauges gauges = reader_();
    std::vector<prometheus::MetricFamily> families;
    prometheus::MetricFamily agents;
    agents.name = "cupel_agents";
    agents.help = "Agents by state";
    agents.type = prometheus::MetricType::Gauge;
    for (const auto& [state, count] : gauges.agents) {
      prometheus::ClientMetric metric;
      metric.label = {{"state", std::string(AgentStateName(state))}};
      metric.gauge.value = static_cast<double>(count);
      agents.metric.push_back(std::move(metric));
    }
    families.push_back(std::move(agents));
    families.push_back(Gauge("cupel_streams", "Open attestation streams",
                             static_cast<double>(gauges.streams)));
    families.push_back(Gauge("cupel_queue_depth", "Jobs that wait",
                             static_cast<double>(gauges.queue_depth)));
    return families;
  }

 private:
  mutable std::mutex mutex_;  // guards reader_, and is held while it runs
  std::function<Metrics::Gauges()> reader_;
};

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
  prometheus::Counter& store_errors = prometheus::BuildCounter()
                                          .Name("cupel_store_errors_total")
                                          .Help("Calls that the store failed")
                                          .Register(*registry)
                                          .Add({});
  prometheus::Histogram& latency =
      prometheus::BuildHistogram()
          .Name("cupel_appraisal_seconds")
          .Help("From complete evidence to its verdict")
          .Register(*registry)
          .Add({}, prometheus::Histogram::BucketBoundaries{
                       0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3,
                       10});
  std::unique_ptr<prometheus::Exposer> exposer;
};

Metrics::Metrics() : implementation_(std::make_unique<Implementation>()) {}
Metrics::~Metrics() { Stop(); }

void Metrics::CountAppraisal(appraisal::Verdict verdict,
                             absl::Duration latency) {
  implementation_->attestations.Add({{"verdict", VerdictName(verdict)}})
      .Increment();
  implementation_->latency.Observe(absl::ToDoubleSeconds(latency));
}

void Metrics::CountStoreError() { implementation_->store_errors.Increment(); }

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
