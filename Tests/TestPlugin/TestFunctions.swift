import Glibc
import Services

/// Each function is a file `function-ROLE-TOKEN`, whose text is its id, "created" or "used", its path, and where it lies.
struct TestFunctions: VirtualFunctionsService {
  let state: String
  let words: [String]
  /// What the functions are parts of, where several hosts see it.
  private let device: TestDevice?

  init(state: String, words: [String]) {
    (self.state, self.words) = (state, words)
    device = TestDevice(words)
  }

  func describe(_ request: DescribeRequest, call: ServerCall) async throws -> PluginDescription {
    PluginDescription {
      $0.name = "test"
      $0.deviceClass = words.contains("no-class") ? "" : "test"
      $0.version = Files.programVersion
      $0.protocolVersions = words.contains("future") ? [9] : [1]
      $0.mediatorsOffered = ["test"]
      $0.mediatorsAccepted = ["test"]
    }
  }

  func discover(_ request: DiscoverRequest, call: ServerCall) async throws -> DiscoverResponse {
    DiscoverResponse {
      $0.endNodes = [
        EndNode {
          $0.id = "test/1"
          $0.roots = [Root { $0.localName = "device0" }]
          if device != nil {
            $0.health = Health { $0.state = .healthy }
            $0.capacity = Capacity { $0.sizeBytes = TestDevice.sizeBytes }
            $0.capabilities = Capabilities {
              $0.multiRoot = true
              $0.paths = [.direct, .directSoftware, .mediated]
              $0.mediators = ["test"]
              $0.consumers = ["host"]
              $0.attributes = ["block.size_bytes"]
              $0.blockSizeBytes = 4096
            }
          }
          guard control > 0 else { return }
          $0.physicalFunction = PhysicalFunction { $0.controlToken = FencingToken { $0.value = control } }
        }
      ]
    }
  }

  private var control: UInt64 { (try? Files.read(state + "/control")).flatMap { UInt64($0) } ?? 0 }

  func watch(_ request: WatchRequest, responses: ResponseWriter<DiscoverResponse>, call: ServerCall) async throws {
    try await responses.write(try await discover(DiscoverRequest(), call: call))
    try await Task.sleep(for: .seconds(1_000_000))
  }

  func observe(_ request: ObserveRequest, call: ServerCall) async throws -> ObserveResponse {
    let functions = try self.functions
    return ObserveResponse { $0.functions = functions.map(status) }
  }

  private var functions: [TestFunction] {
    get throws {
      try Files.names(in: state).filter { $0.hasPrefix("function-") }.compactMap { name in
        TestFunction(name: name, text: try Files.read("\(state)/\(name)"))
      }
    }
  }

  /// What the device does not let this host write to is not in use.
  private func status(_ function: TestFunction) -> FunctionStatus {
    var status = function.status
    if let device, function.role != .consumer, !device.isHeld(under: key(function)) { status.phase = .created }
    return status
  }

  /// What the device is held under for it: as a whole under its own token, for parts under that of control.
  private func key(_ function: TestFunction) -> UInt64 { function.isWhole ? function.token : control }

  private func set(
    _ request: FunctionRequest, _ phase: FunctionPhase, _ verb: String
  ) async throws -> FunctionStatus {
    let function = TestFunction(request, phase, beside: try functions)
    if words.contains("refuse") { throw RPCError(.invalidArgument, "this plugin refuses everything") }
    try await Files.hold("\(state)/before-\(verb)")
    // A fencer has no function of its own.
    if request.role != .fencer {
      if phase == .inUse, request.role != .consumer { try device?.seize(under: key(function)) }
      if phase == .absent {
        if function.isWhole { try device?.letGo(under: key(function)) }
        unlink("\(state)/\(function.name)")
      } else {
        try Files.write(function.text, to: "\(state)/\(function.name)")
      }
    }
    try await Files.hold("\(state)/after-\(verb)")
    return function.status
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
    let function = TestFunction(request, .absent, beside: [])
    if request.role == .fencer, function.isWhole { try device?.letGo(under: key(function)) }
    return try await set(request, .absent, "destroy")
  }

  func scrub(_ request: FunctionRequest, responses: ResponseWriter<ScrubProgress>, call: ServerCall) async throws {
    try await responses.write(
      ScrubProgress {
        $0.doneBytes = 1
        $0.totalBytes = 2
      })
    let function = TestFunction(request, .created, beside: [])
    try device?.wipe(function.id, under: key(function))
    let status = try await set(request, .created, "scrub")
    try await responses.write(ScrubProgress { $0.status = status })
  }

  func validate(_ request: FunctionRequest, call: ServerCall) async throws -> ValidateResponse { ValidateResponse() }
  /// Cuts off the host in whose place this one fences; the agent asks this of a fencer alone.
  func fence(_ request: FunctionRequest, call: ServerCall) async throws -> FunctionStatus {
    guard let device, request.role == .fencer else { throw unused }
    try device.seize(under: key(TestFunction(request, .created, beside: [])))
    return try await set(request, .created, "fence")
  }

  func takeControl(_ request: ControlRequest, call: ServerCall) async throws -> ControlStatus {
    let token = request.controlToken?.value ?? 0
    if let device, !request.formerControlTokens.isEmpty { try device.takeControl(under: token) }
    try Files.write("\(token)", to: state + "/control")
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
