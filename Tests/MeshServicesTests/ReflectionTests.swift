import Descriptors
import Services
import Testing

private typealias Question = ServerReflectionRequest.MessageRequest

/// What the server answers, question by question, on one call.
private func answers(
  _ questions: [Question?], _ method: MethodDescriptor<ServerReflectionRequest, ServerReflectionResponse>? = nil
) async throws -> [ServerReflectionResponse] {
  var answers: [ServerReflectionResponse] = []
  try await withServer([SilentClaims(), HealthFrontend(HealthBoard())]) { channel in
    let call = try await channel.bidirectional(method ?? ServerReflectionMethods.serverReflectionInfo)
    var responses = call.responses.makeAsyncIterator()
    for question in questions {
      let request = ServerReflectionRequest {
        $0.host = "here"
        $0.messageRequest = question
      }
      try await call.write(request)
      let answer = try #require(try await responses.next())
      #expect(answer.originalRequest == request)
      #expect(answer.validHost == "here")
      answers.append(answer)
    }
    call.finishWriting()
    #expect(try await responses.next() == nil)
  }
  return answers
}

/// The names of the files in an answer, in their order.
private func files(_ answer: ServerReflectionResponse) -> [String] {
  guard case .fileDescriptorResponse(let response)? = answer.messageResponse else { return [] }
  return response.fileDescriptorProto.map { bytes in
    // A file's name is its first field.
    String(decoding: bytes.dropFirst(2).prefix(Int(bytes[1])), as: UTF8.self)
  }
}

private func errorCode(_ answer: ServerReflectionResponse) -> StatusCode? {
  guard case .errorResponse(let error)? = answer.messageResponse else { return nil }
  return StatusCode(rawValue: Int(error.errorCode))
}

private let ownServices = [
  "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
  "iov.v1.Claims",
]

@Test(arguments: ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"])
func servicesAreListedAndDescribed(by service: String) async throws {
  let answers = try await answers(
    [.listServices(""), .fileContainingSymbol("iov.v1.Claims"), .fileByFilename("google/protobuf/wrappers.proto")],
    MethodDescriptor(service: service, method: "ServerReflectionInfo"))
  try #require(answers.count == 3)
  guard case .listServicesResponse(let list)? = answers[0].messageResponse else {
    Issue.record("no list: \(answers[0])")
    return
  }
  #expect(list.service.map(\.name) == ownServices)
  #expect(files(answers[1]).first == "iov/v1/claims.proto")
  #expect(
    Set(files(answers[1])) == [
      "iov/v1/claims.proto", "iov/v1/model.proto", "google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto",
    ])
  #expect(files(answers[2]) == ["google/protobuf/wrappers.proto"])
}

@Test(arguments: [
  ("iov.v1.Claims.CreateClaim", "iov/v1/claims.proto"), ("iov.v1.ClaimEvent.kind", "iov/v1/claims.proto"),
  ("iov.v1.CLAIM_EVENT_KIND_GONE", "iov/v1/claims.proto"), ("iov.v1.ClaimSpecification", "iov/v1/model.proto"),
  ("grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto"),
  ("google.protobuf.Timestamp", "google/protobuf/timestamp.proto"),
])
func whatIsDeclaredAnywhereIsFound(symbol: String, file: String) async throws {
  let answers = try await answers([.fileContainingSymbol(symbol)])
  #expect(answers.map { files($0).first } == [file])
}

@Test func whatNoServiceNeedsIsNotFound() async throws {
  let extensionRequest = ExtensionRequest {
    $0.containingType = "iov.v1.Claim"
    $0.extensionNumber = 100
  }
  let answers = try await answers([
    .fileByFilename("iov/v1/inventory.proto"), .fileContainingSymbol("iov.v1.Claims.NoSuch"),
    .fileContainingExtension(extensionRequest), .allExtensionNumbersOfType("iov.v1.Nothing"), nil,
    .allExtensionNumbersOfType("iov.v1.Claim"),
  ])
  #expect(answers.map(errorCode) == [.notFound, .notFound, .notFound, .notFound, .invalidArgument, nil])
  // proto3 has no extensions: the list of a type that is there is empty.
  let none = ExtensionNumberResponse { $0.baseTypeName = "iov.v1.Claim" }
  #expect(answers.last?.messageResponse == .allExtensionNumbersResponse(none))
}
