import Services

@testable import iov

/// A rack with two hosts, a card and a disk: `web` uses the card of host-a on host-b, `data` waits.
extension FakeCoordinator.World {
  static let cardID = "eth-0011"
  static let functionID = "eth-0011-t4"

  mutating func fillWithSample() {
    hosts = [.connected("host-a"), .connected("host-b")]
    endNodes = [
      EndNode {
        $0.id = Self.cardID
        $0.name = "host-a/eth1"
        $0.deviceClass = "ethernet"
        $0.roots = [
          Root {
            $0.host = "host-a"
            $0.localName = "eth1"
          }
        ]
        $0.physicalFunction = PhysicalFunction {
          $0.controllingHost = "host-a"
          $0.controlToken = FencingToken { $0.value = 2 }
        }
        $0.capacity = Capacity { $0.functions = 8 }
        $0.used = Capacity { $0.functions = 1 }
        $0.health = Health { $0.state = .healthy }
      }
    ]
    claims = [.held("web")]
    functions = [
      AssignedFunction {
        $0.assignment = claims[0].status?.assignment
        $0.reports = [.report("host-a", .server, .inUse), .report("host-b", .consumer, .inUse)]
      }
    ]
  }
}

extension Host {
  static func connected(_ name: String) -> Host {
    Host {
      $0.name = name
      $0.state = .connected
      $0.bootId = "boot-of-\(name)"
      $0.lastSeen = .now()
      $0.plugins = [
        Plugin {
          $0.name = "ethernet"
          $0.state = .serving
        }
      ]
    }
  }
}

extension Claim {
  static func held(_ name: String) -> Claim {
    Claim {
      $0.name = name
      $0.uid = "uid-of-\(name)"
      $0.specification = ClaimSpecification {
        $0.deviceClass = "ethernet"
        $0.host = "host-b"
      }
      $0.status = ClaimStatus {
        $0.phase = .ready
        $0.assignment = Assignment {
          $0.function = FakeCoordinator.World.functionID
          $0.claim = name
          $0.claimUid = "uid-of-\(name)"
          $0.endNode = FakeCoordinator.World.cardID
          $0.host = "host-b"
          $0.controllingHost = "host-a"
          $0.path = .mediated
          $0.token = FencingToken { $0.value = 4 }
        }
      }
    }
  }

  static func waiting(_ name: String, _ phase: ClaimPhase, for reasons: String...) -> Claim {
    Claim {
      $0.name = name
      $0.uid = "uid-of-\(name)"
      $0.status = ClaimStatus {
        $0.phase = phase
        $0.pending = reasons.map { reason in PendingReason { $0.message = reason } }
      }
    }
  }
}

extension HostFunctionStatus {
  static func report(_ host: String, _ role: Role, _ phase: FunctionPhase, error: FunctionError? = nil) -> Self {
    HostFunctionStatus {
      $0.host = host
      $0.status = FunctionStatus {
        $0.role = role
        $0.phase = phase
        $0.error = error
        $0.function = VirtualFunction { $0.token = FencingToken { $0.value = 4 } }
      }
    }
  }
}

extension Orphan {
  static func sample(_ function: String, on host: String) -> Orphan {
    Orphan {
      $0.host = host
      $0.status = FunctionStatus {
        $0.function = VirtualFunction {
          $0.id = function
          $0.token = FencingToken { $0.value = 3 }
        }
        $0.role = .direct
        $0.phase = .inUse
        $0.assignment = Assignment { $0.claim = "lost" }
      }
    }
  }
}
