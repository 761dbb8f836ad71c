import Reconciliation
import Services

/// The cards of one host of a swarm and what its plugin would do with them: everything works at once.
struct SwarmDevices {
  let host: Int
  let cards: Int
  let functionsEach: Int
  private var functions: [FunctionKey: FunctionStatus] = [:]
  private(set) var stepsDone = 0
  /// Steps that took a function from whoever used it.
  private(set) var cuts = 0

  init(host: Int, cards: Int, functionsEach: Int) {
    self.host = host
    self.cards = cards
    self.functionsEach = functionsEach
  }

  static let plugin = Plugin {
    $0.name = "ethernet"
    $0.deviceClass = "ethernet"
    $0.state = .serving
  }

  var endNodes: [EndNode] {
    (0..<cards).map { card in
      EndNode {
        $0.id = "ethernet/card-\(host)-\(card)"
        $0.roots = [Root { $0.localName = "eth\(card)" }]
        $0.capacity = Capacity { $0.functions = UInt32(functionsEach) }
        $0.capabilities = Capabilities {
          $0.paths = [.directSoftware]
          $0.consumers = ["host", "network_namespace"]
          $0.attributes = ["ethernet.mac_address", "ethernet.mtu"]
          $0.maximumMtu = 9000
        }
        $0.health = Health { $0.state = .healthy }
      }
    }
  }

  /// What the plugin finds.
  var found: [FunctionStatus] { functions.keys.sorted().compactMap { functions[$0] } }

  mutating func answer(_ step: Step) -> FunctionStatus {
    stepsDone += 1
    let assignment = step.request.assignment ?? Assignment()
    let status = FunctionStatus {
      $0.role = step.key.role
      $0.function = VirtualFunction {
        $0.id = assignment.function
        $0.endNode = assignment.endNode
        $0.token = assignment.token
        $0.claimUid = assignment.claimUid
      }
      switch step.verb {
      case .create, .detach, .unserve, .fence, .scrub: $0.phase = .created
      case .destroy, .disconnect: $0.phase = .absent
      case .attach, .serve, .connect, .configure:
        $0.phase = .inUse
        $0.arrival = Arrival {
          $0.interfaceName = "iov\(step.key.token)"
          $0.enforced = assignment.attributes
        }
      }
    }
    if step.verb == .detach { cuts += 1 }
    functions[step.key] = status.phase == .absent ? nil : status
    return status
  }
}
