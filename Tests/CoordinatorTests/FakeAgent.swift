import Services

/// An agent that says it has done what it was told.
struct FakeAgent: Sendable {
  let host: Host
  let plugins: [Plugin]
  let endNodes: [EndNode]
  /// What is on the host though nobody may want it.
  var found: [Assignment] = []
  /// What its plugin counts; nil: it ends its session when it is asked.
  var counters: [FunctionStatistics]? = []

  init(_ name: String, address: String, endNodes: [EndNode] = [], instance: String? = nil) {
    host = Host {
      $0.name = name
      $0.instanceId = instance ?? "instance-of-\(name)"
      $0.bootId = "boot"
      $0.mediationAddress = address
      $0.mediationMtu = 1500
    }
    plugins = [
      Plugin {
        $0.name = "ethernet"
        $0.deviceClass = "ethernet"
        $0.state = .serving
        $0.mediatorsOffered = ["vxlan"]
        $0.mediatorsAccepted = ["vxlan"]
      }
    ]
    self.endNodes = endNodes
  }

  static let withCard = FakeAgent("a", address: "10.0.0.1", endNodes: [card])
  static let withoutCard = FakeAgent("b", address: "10.0.0.2")

  private static var card: EndNode {
    EndNode {
      $0.id = "ethernet/52:54:00:00:00:01"
      $0.deviceClass = "ethernet"
      $0.roots = [Root { $0.localName = "eth1" }]
      $0.health = Health { $0.state = .healthy }
      $0.capacity = Capacity { $0.functions = 500 }
      $0.capabilities = Capabilities {
        $0.paths = [.directSoftware, .mediated]
        $0.mediators = ["vxlan"]
        $0.consumers = ["host", "network_namespace"]
        $0.attributes = ["ethernet.mac_address", "ethernet.mtu", "ethernet.max_transmit_bits_per_second"]
        $0.maximumMtu = 9000
      }
    }
  }

  /// One session, until it ends or the task is cancelled.
  func run(_ channel: RPCChannel) async throws {
    let call = try await AgentSessionsClient(channel).connect()
    try await call.write(AgentMessage { $0.kind = .hello(AgentHello { $0.host = host }) })
    try await call.write(AgentMessage { $0.kind = .heartbeat(Heartbeat { $0.sequence = 1 }) })
    try await call.write(
      AgentMessage {
        $0.kind = .inventory(
          InventoryReport {
            $0.endNodes = endNodes
            $0.plugins = plugins
          })
      })
    try await withThrowingTaskGroup(of: Void.self) { group in
      defer { group.cancelAll() }
      for try await message in call.responses {
        switch message.kind {
        case .welcome(let welcome): group.addTask { try await renewLease(call, welcome.heartbeatIntervalMilliseconds) }
        case .wanted(let wanted): try await call.write(AgentMessage { $0.kind = .functions(report(on: wanted)) })
        case .statistics(let question): try await answer(question, call)
        case .heartbeat, .rescan, nil: continue
        }
      }
    }
  }

  private func answer(
    _ question: StatisticsQuestion, _ call: BidirectionalCall<AgentMessage, CoordinatorMessage>
  ) async throws {
    guard let counters else { throw RPCError(.cancelled, "this agent hangs up") }
    func answer(_ number: UInt64, _ counters: [FunctionStatistics]) -> AgentMessage {
      AgentMessage {
        $0.kind = .statistics(
          StatisticsAnswer {
            $0.number = number
            $0.functions = counters
          })
      }
    }
    // What nobody asked is nobody's answer.
    try await call.write(answer(question.number + 1000, []))
    try await call.write(
      answer(
        question.number, counters.filter { question.function.isEmpty || $0.function == question.function }))
  }

  private func renewLease(
    _ call: BidirectionalCall<AgentMessage, CoordinatorMessage>, _ intervalMilliseconds: UInt32
  ) async throws {
    for sequence in 2... {
      try await Task.sleep(for: .milliseconds(intervalMilliseconds))
      try await call.write(AgentMessage { $0.kind = .heartbeat(Heartbeat { $0.sequence = UInt64(sequence) }) })
    }
  }

  private func report(on wanted: WantedState) -> FunctionReport {
    FunctionReport {
      $0.epoch = wanted.epoch
      $0.revision = wanted.revision
      $0.bootId = host.bootId
      $0.complete = wanted.complete
      let isWanted = Set(wanted.functions.map { $0.assignment?.function ?? "" })
      $0.functions = wanted.complete ? found.filter { !isWanted.contains($0.function) }.map(orphan) : []
      $0.functions += wanted.functions.map { entry in
        FunctionStatus {
          $0.function = VirtualFunction {
            $0.id = entry.assignment?.function ?? ""
            $0.endNode = entry.assignment?.endNode ?? ""
            $0.token = entry.assignment?.token
          }
          $0.role = entry.role
          $0.phase = entry.released ? .absent : .inUse
          $0.revision = entry.revision
          if entry.role != .server { $0.arrival = Arrival { $0.interfaceName = "iov0" } }
        }
      }
    }
  }

  private func orphan(_ assignment: Assignment) -> FunctionStatus {
    FunctionStatus {
      $0.function = VirtualFunction {
        $0.id = assignment.function
        $0.endNode = assignment.endNode
        $0.deviceClass = assignment.deviceClass
        $0.token = assignment.token
      }
      $0.role = .direct
      $0.phase = .inUse
      $0.assignment = assignment
    }
  }
}

/// Runs agents beside `body` and stops them after it.
func withAgents(
  _ agents: [FakeAgent], of coordinator: TestCoordinator, _ body: () async throws -> Void
) async throws {
  let running = agents.map { agent in Task { try await agent.run(coordinator.channel()) } }
  defer { for task in running { task.cancel() } }
  let inventory = coordinator.inventory
  while try await inventory.listHosts(ListHostsRequest()).hosts.filter({ $0.state == .connected && !$0.plugins.isEmpty }
  )
  .count < agents.count { await Task.yield() }
  try await body()
}
