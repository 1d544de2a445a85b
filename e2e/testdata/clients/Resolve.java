import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Hashtable;
import javax.naming.NameNotFoundException;
import javax.naming.NamingEnumeration;
import javax.naming.NamingException;
import javax.naming.directory.Attribute;
import javax.naming.directory.InitialDirContext;

/**
 * Prints a line for each argument, as resolve.c does: names and addresses by
 * InetAddress, TYPE:NAME by the platform's own DNS client (JNDI), which speaks to
 * the server of the first argument.
 */
public class Resolve {
    public static void main(String[] args) throws Exception {
        Hashtable<String, String> env = new Hashtable<>();
        env.put("java.naming.factory.initial", "com.sun.jndi.dns.DnsContextFactory");
        env.put("java.naming.provider.url", "dns://" + args[0] + "/");
        InitialDirContext dns = new InitialDirContext(env);
        for (int i = 1; i < args.length; i++) {
            String arg = args[i];
            int colon = arg.indexOf(':');
            String type = colon < 0 ? "" : arg.substring(0, colon);
            if (type.matches("[A-Z]+")) {
                records(dns, arg, type, arg.substring(colon + 1));
            } else if (arg.matches("[0-9.]+|.*:.*")) {
                String name = InetAddress.getByName(arg).getCanonicalHostName();
                System.out.println(arg + (name.equals(arg) ? " ! none" : " = " + name));
            } else {
                try {
                    StringBuilder line = new StringBuilder(arg + " =");
                    for (InetAddress a : InetAddress.getAllByName(arg)) {
                        line.append(" ").append(a.getHostAddress());
                    }
                    System.out.println(line);
                } catch (UnknownHostException e) {
                    System.out.println(arg + " ! none");
                }
            }
        }
    }

    static void records(InitialDirContext dns, String arg, String type, String name) throws NamingException {
        try {
            Attribute all = dns.getAttributes(name, new String[] {type}).get(type);
            if (all == null) {
                System.out.println(arg + " ! nodata");
                return;
            }
            StringBuilder line = new StringBuilder(arg + " =");
            for (NamingEnumeration<?> e = all.getAll(); e.hasMore();) {
                line.append(" ").append(e.next().toString().replace(' ', '_'));
            }
            System.out.println(line);
        } catch (NameNotFoundException e) {
            System.out.println(arg + " ! none");
        }
    }
}
