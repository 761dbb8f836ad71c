/// Writes the stubs of one service: its methods, the protocol a server implements, and the client.
struct ServiceGenerator {
  private struct Method {
    var descriptor: ServiceDescriptor.Method
    var name: String
    var request: String
    var response: String
  }

  private let service: ServiceDescriptor
  private let fullName: String
  private let methods: [Method]

  init(_ service: ServiceDescriptor, package: String, types: TypeTable) throws {
    self.service = service
    fullName = join(package, service.name)
    methods = try service.methods.map { method in
      Method(
        descriptor: method, name: swiftName(lowerFirst(method.name)),
        request: try types.swiftName(of: method.input), response: try types.swiftName(of: method.output))
    }
  }

  func write(_ source: inout SourceText) {
    source.line()
    writeMethods(&source)
    source.line()
    writeServer(&source)
    source.line()
    writeClient(&source)
  }

  private func writeMethods(_ source: inout SourceText) {
    source.line("/// The methods of \(fullName).")
    source.block("public enum \(service.name)Methods") { source in
      for method in methods {
        source.line("public static let \(method.name) = MethodDescriptor<\(method.request), \(method.response)>(")
        source.line("  service: \"\(fullName)\", method: \"\(method.descriptor.name)\")")
      }
    }
  }

  private func writeServer(_ source: inout SourceText) {
    source.documentation(service.documentation.isEmpty ? ["Serves \(fullName)."] : service.documentation)
    source.block("public protocol \(service.name)Service: RPCService") { source in
      for method in methods {
        source.documentation(method.descriptor.documentation)
        source.line(serverSignature(method))
      }
    }
    source.line()
    source.block("extension \(service.name)Service") { source in
      source.block("public func register(in router: inout Router)") { source in
        for method in methods { writeRegistration(method, &source) }
      }
    }
  }

  private func serverSignature(_ method: Method) -> String {
    switch (method.descriptor.clientStreams, method.descriptor.serverStreams) {
    case (true, false):
      "func \(method.name)(_ requests: RequestStream<\(method.request)>, call: ServerCall) async throws "
        + "-> \(method.response)"
    case (true, true):
      "func \(method.name)(_ requests: RequestStream<\(method.request)>, "
        + "responses: ResponseWriter<\(method.response)>, call: ServerCall) async throws"
    case (false, true):
      "func \(method.name)(_ request: \(method.request), "
        + "responses: ResponseWriter<\(method.response)>, call: ServerCall) async throws"
    case (false, false):
      "func \(method.name)(_ request: \(method.request), call: ServerCall) async throws -> \(method.response)"
    }
  }

  private func writeRegistration(_ method: Method, _ source: inout SourceText) {
    let descriptor = "\(service.name)Methods.\(method.name)"
    switch (method.descriptor.clientStreams, method.descriptor.serverStreams) {
    case (true, false):
      source.line("router.clientStreaming(\(descriptor)) { try await self.\(method.name)($0, call: $1) }")
    case (true, true):
      source.block("router.bidirectional(\(descriptor))") {
        $0.line("try await self.\(method.name)($0, responses: $1, call: $2)")
      }
    case (false, true):
      source.block("router.serverStreaming(\(descriptor))") {
        $0.line("try await self.\(method.name)($0, responses: $1, call: $2)")
      }
    case (false, false):
      source.line("router.unary(\(descriptor)) { try await self.\(method.name)($0, call: $1) }")
    }
  }

  private func writeClient(_ source: inout SourceText) {
    source.line("/// Calls \(fullName).")
    source.block("public struct \(service.name)Client: Sendable") { source in
      source.line("public let channel: RPCChannel")
      source.line()
      source.line("public init(_ channel: RPCChannel) { self.channel = channel }")
      for method in methods {
        source.line()
        source.documentation(method.descriptor.documentation)
        writeCall(method, &source)
      }
    }
  }

  private func writeCall(_ method: Method, _ source: inout SourceText) {
    let descriptor = "\(service.name)Methods.\(method.name)"
    let head: String
    let body: String
    switch (method.descriptor.clientStreams, method.descriptor.serverStreams) {
    case (true, false):
      head =
        "(options: CallOptions = CallOptions()) async throws "
        + "-> ClientStreamingCall<\(method.request), \(method.response)>"
      body = "try await channel.clientStreaming(\(descriptor), options: options)"
    case (true, true):
      head =
        "(options: CallOptions = CallOptions()) async throws "
        + "-> BidirectionalCall<\(method.request), \(method.response)>"
      body = "try await channel.bidirectional(\(descriptor), options: options)"
    case (false, true):
      head =
        "(_ request: \(method.request), options: CallOptions = CallOptions()) async throws "
        + "-> ResponseStream<\(method.response)>"
      body = "try await channel.serverStreaming(\(descriptor), request, options: options)"
    case (false, false):
      head = "(_ request: \(method.request), options: CallOptions = CallOptions()) async throws -> \(method.response)"
      body = "try await channel.unary(\(descriptor), request, options: options)"
    }
    source.block("public func \(method.name)\(head)") { $0.line(body) }
  }
}
