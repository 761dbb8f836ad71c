import Glibc
import Services

/// Each function is a file `function-ROLE-TOKEN`, whose text is its id and "created" or "used".
struct TestFunctions: VirtualFunctionsService {
  let state: String
  let words: [String]

  func describe(_ request: DescribeRequest, call: ServerCall) async throws -> PluginDescription {
    PluginDescription {
      $0.name = "test"
      $0.deviceClass = words.contains("no-class") ? "" : "test"
      $0.version = Files.programVersion
      $0.protocolVersions = words.contains("future") ? [9] : [1]
    }
  }

  func discover(_ request: DiscoverRequest, call: ServerCall) async throws -> DiscoverResponse {
    DiscoverResponse {
      $0.endNodes = [
        EndNode {
          $0.id = "test/1"
          $0.roots = [Root { $0.localName = "device0" }]
          guard let control = (try? Files.read(state + "/control")).flatMap({ UInt64($0) }) else { return }
          $0.physicalFunction = PhysicalFunction { $0.controlToken = FencingToken { $0.value = control } }
        }
      ]
    }
  }

  func watch(_ request: WatchRequest, responses: ResponseWriter<DiscoverResponse>, call: ServerCall) async throws {
    try await responses.write(try await discover(DiscoverRequest(), call: call))
    try await Task.sleep(for: .seconds(1_000_000))
  }

  func observe(_ request: ObserveRequest, call: ServerCall) async throws -> ObserveResponse {
    let statuses = try Files.names(in: state).filter { $0.hasPrefix("function-") }.map { name in
      let parts = name.split(separator: "-")
      let text = try Files.read("\(state)/\(name)").split(separator: " ").map(String.init)
      return status(
        text[0], Role(rawValue: Int32(parts[1]) ?? 0), token: UInt64(parts[2]) ?? 0,
        text[1] == "used" ? .inUse : .created)
    }
    return ObserveResponse { $0.functions = statuses }
  }

  private func status(_ id: String, _ role: Role, token: UInt64, _ phase: FunctionPhase) -> FunctionStatus {
    FunctionStatus {
      $0.role = role
      $0.phase = phase
      $0.function = VirtualFunction {
        $0.id = id
        $0.endNode = "test/1"
        $0.token = FencingToken { $0.value = token }
      }
    }
  }

  private func set(
    _ request: FunctionRequest, _ phase: FunctionPhase, _ verb: String
  ) async throws -> FunctionStatus {
    let assignment = request.assignment ?? Assignment()
    let token = assignment.token?.value ?? 0
    let path = "\(state)/function-\(request.role.rawValue)-\(token)"
    if words.contains("refuse") { throw RPCError(.invalidArgument, "this plugin refuses everything") }
    try await Files.hold("\(state)/before-\(verb)")
    if phase == .absent {
      unlink(path)
    } else {
      try Files.write("\(assignment.function) \(phase == .inUse ? "used" : "created")", to: path)
    }
    try await Files.hold("\(state)/after-\(verb)")
    return status(assignment.function, request.role, token: token, phase)
  }

  func create(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await set(request, .created, "create")
  }
  func attach(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await set(request, .inUse, "attach")
  }
  func serve(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await set(request, .inUse, "serve")
  }
  func connect(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await set(request, .inUse, "connect")
  }
  func configure(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await set(request, .inUse, "configure")
  }
  func detach(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await set(request, .created, "detach")
  }
  func unserve(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await set(request, .created, "unserve")
  }
  func disconnect(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await set(request, .absent, "disconnect")
  }
  func destroy(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    try await set(request, .absent, "destroy")
  }

  func scrub(_ request: FunctionRequest, responses: ResponseWriter<ScrubProgress>, call: ServerCall) async throws {
    try await responses.write(
      ScrubProgress {
        $0.doneBytes = 1
        $0.totalBytes = 2
      })
    let status = try await set(request, .created, "scrub")
    try await responses.write(ScrubProgress { $0.status = status })
  }

  func validate(_ request: FunctionRequest, call: ServerCall) async throws -> ValidateResponse { ValidateResponse() }
  func fence(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus { throw unused }
  func takeControl(_ request: ControlRequest, call: ServerCall) async throws -> ControlStatus {
    try Files.write("\(request.controlToken?.value ?? 0)", to: state + "/control")
    return ControlStatus {
      $0.endNode = request.endNode
      $0.controlToken = request.controlToken
      $0.held = true
    }
  }
  func yieldControl(_ request: ControlRequest, call: ServerCall) async throws -> ControlStatus { throw unused }
  func adopt(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus { throw unused }
  func statistics(_ request: StatisticsRequest, call: ServerCall) async throws -> StatisticsResponse {
    guard !words.contains("counts-nothing") else { throw unused }
    let all = try await observe(ObserveRequest(), call: call).functions.compactMap(\.function)
    return StatisticsResponse {
      $0.functions = all.filter { request.function.isEmpty || $0.id == request.function }.map { function in
        FunctionStatistics {
          $0.function = function.id
          $0.receivedBytes = 1000 + (function.token?.value ?? 0)
        }
      }
    }
  }

  private var unused: RPCError { RPCError(.unimplemented, "the agent does not ask for this") }
}
