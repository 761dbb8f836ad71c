import ArgumentParser
import LinuxDevices
import Services

extension ClaimCommand {
  /// What a machine of libvirt's is told of a function.
  struct Libvirt: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the XML element by which a machine of libvirt's gets the function.",
      discussion: """
        For a claim with --vm that is ready. On the function's host: iov claim libvirt web > web.xml, then \
        virsh attach-device MACHINE web.xml. Detach it from the machine before the claim is released.
        """)

    @Argument(help: "The claim's name.", completion: NameCompletion.claims) var name: String
    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
      try await withCoordinator(connection) { coordinator in
        print(try Self.element(of: try await coordinator.claim(named: name)))
      }
    }

    static func element(of claim: Claim) throws -> String {
      guard case .virtualMachine = claim.specification?.consumer?.kind else {
        throw ValidationError("claim \(claim.name) is not for a virtual machine: create it with --vm")
      }
      guard claim.status?.phase == .ready, let text = claim.status?.assignment?.arrival?.pciAddress,
        let address = PCIAddress(text)
      else {
        throw ValidationError("claim \(claim.name) has no function yet: iov claim wait \(claim.name) --for ready")
      }
      return address.libvirtElement
    }
  }
}
