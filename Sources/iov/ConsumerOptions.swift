import ArgumentParser
import Services

/// Who uses the function on its host: one of these, or the host itself.
struct ConsumerOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Put the interface into this network namespace of the host; default: the host itself.", valueName: "name"))
  var netns: String?
  @Flag(help: "For a container: `iov claim get` shows the CDI device to start it with.") var container = false
  @Flag(help: "For a virtual machine that is yet to be started: the whole function, by vfio-pci.") var vm = false
  @Option(
    help: ArgumentHelp(
      "For a QEMU that runs, by its QMP socket: the function is plugged in, and out on release.", valueName: "socket"))
  var vmQmp: String?
  @Option(
    help: ArgumentHelp("The bus of that machine to plug it into, such as a free root port.", valueName: "id"))
  var vmBus: String?
  @Flag(help: "For a program that drives the function itself, by vfio-pci; with --container, one in a container.")
  var userSpace = false
  @Flag(
    help: """
      For a file server: claims that name this one with --source get parts of the disk's function, and nobody else uses it.
      """)
  var fileServer = false
  @Option(help: ArgumentHelp("The interface's name there; default: derived from the function.", valueName: "name"))
  var interface: String?

  func validate() throws {
    let named = [netns != nil, vm || vmQmp != nil, container || userSpace, fileServer].filter { $0 }.count
    guard named <= 1 else {
      throw ValidationError(
        "--netns, --vm or --vm-qmp, --container or --user-space, and --file-server name different consumers: give one")
    }
    guard vmBus == nil || vmQmp != nil else {
      throw ValidationError("--vm-bus is a bus of the machine that --vm-qmp names")
    }
  }

  var consumer: Consumer {
    Consumer {
      $0.kind = kind
      $0.interfaceName = interface ?? ""
    }
  }

  private var kind: Consumer.Kind {
    if let netns { return .networkNamespace(NetworkNamespaceConsumer { $0.name = netns }) }
    if container { return .container(ContainerConsumer { $0.userSpace = userSpace }) }
    if userSpace { return .userSpace(UserSpaceConsumer()) }
    if fileServer { return .fileServer(FileServerConsumer()) }
    guard vm || vmQmp != nil else { return .host(HostConsumer()) }
    return .virtualMachine(
      VirtualMachineConsumer {
        $0.qmpSocket = vmQmp ?? ""
        $0.bus = vmBus ?? ""
      })
  }
}

extension Consumer {
  var words: String {
    let place =
      switch kind {
      case .networkNamespace(let namespace): "network namespace \(namespace.name)"
      case .container(let container):
        container.userSpace ? "a program with a driver of its own, in a container" : "a container"
      case .virtualMachine(let machine):
        machine.qmpSocket.isEmpty ? "a virtual machine" : "the virtual machine behind \(machine.qmpSocket)"
      case .userSpace: "a program with a driver of its own"
      case .fileServer: "a file server, for claims from it"
      case .host, nil: "the host"
      }
    return interfaceName.isEmpty ? place : "\(place), as \(interfaceName)"
  }
}
