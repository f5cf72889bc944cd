// What a stranger, and what an operator, can ask of the listeners themselves.
#include <memory>
#include <set>
#include <string>

#include "catch2/catch.hpp"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/byte_buffer.h"
#include "tests/verifier/rpc/server_rig.h"

namespace cupel::verifier {
namespace {

// Calls "/service/Method" with the message `bytes`, which is protocol buffers'
// wire format: neither health nor reflection comes with generated code.
grpc::Status Call(const std::shared_ptr<grpc::Channel>& channel,
                  const std::string& method, const std::string& bytes,
                  std::string& answer) {
  Context context;
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  void* tag = nullptr;
  bool ok = false;
  REQUIRE(queue.Next(&tag, &ok));
  const grpc::Slice slice(bytes);
  if (ok) {
    call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    REQUIRE(queue.Next(&tag, &ok));
  }
  grpc::ByteBuffer reply;
  if (ok) {
    call->Read(&reply, nullptr);
    REQUIRE(queue.Next(&tag, &ok));
  }
  if (ok) {
    grpc::Slice all;
    REQUIRE(reply.DumpToSingleSlice(&all).ok());
    answer.assign(reinterpret_cast<const char*>(all.begin()), all.size());
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  REQUIRE(queue.Next(&tag, &ok));
  return status;
}

// HealthCheckRequest of the whole server; a HealthCheckResponse that SERVING is
// in.
grpc::Status Health(const std::shared_ptr<grpc::Channel>& channel,
                    std::string& answer) {
  return Call(channel, "/grpc.health.v1.Health/Check", "", answer);
}
constexpr char kServing[] = "\x08\x01";

// ServerReflectionRequest{list_services: "*"}.
grpc::Status Reflect(const std::shared_ptr<grpc::Channel>& channel,
                     std::string& answer) {
  return Call(channel,
              "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
              "\x3a\x01*", answer);
}

TEST_CASE("Both listeners say whether they serve") {
  ServerRig rig;
  std::string answer;
  CHECK(Health(rig.Attest(), answer).ok());
  CHECK(answer == kServing);
  answer.clear();
  CHECK(Health(rig.Fleet("pki/viewer"), answer).ok());
  CHECK(answer == kServing);
  // The fleet's only to operators.
  CHECK(Health(rig.Fleet(""), answer).error_code() ==
        grpc::StatusCode::UNAVAILABLE);
}

TEST_CASE("Reflection is for operators") {
  ServerRig rig;
  std::string answer;
  CHECK(Reflect(rig.Fleet("pki/viewer"), answer).ok());
  CHECK(answer.find("cupel.v1.Fleet") != std::string::npos);
  CHECK(answer.find("cupel.v1.Policies") != std::string::npos);
  answer.clear();
  CHECK(Reflect(rig.Attest(), answer).error_code() ==
        grpc::StatusCode::UNIMPLEMENTED);
  CHECK(answer.empty());
  CHECK(Reflect(rig.Fleet(""), answer).error_code() ==
        grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace cupel::verifier
