// Messages as plain values, and back.
#ifndef CUPEL_TENANT_RPC_CONVERSIONS_H_
#define CUPEL_TENANT_RPC_CONVERSIONS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "grpcpp/support/status.h"
#include "proto/cupel/v1/fleet.pb.h"
#include "tenant/fleet.h"

namespace cupel::tenant {

// A state, severity or time that makes no sense becomes kUnknown, the text as
// it came, or none: a verifier may be newer than this program.
ReportedAgent FromProto(const v1::Agent& agent);
ReportedFinding FromProto(const v1::Finding& finding);
FleetEvent FromProto(const v1::Event& event);
AllowedEk FromProto(const v1::AllowedEk& ek);
PolicyInfo FromProto(const v1::PolicyInfo& info);

v1::AgentSettings ToProto(const AgentSettings& settings);
v1::Selector ToProto(const Selector& selector);
google::protobuf::Duration ToProto(absl::Duration duration);

// Why a call to the verifier at `address` failed, as a sentence for people,
// escaped. The code is kept; TLS that failed is kUnavailable. `timeout` is the
// call's deadline.
absl::Status FromGrpc(const grpc::Status& status, absl::string_view address,
                      absl::Duration timeout);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_RPC_CONVERSIONS_H_
