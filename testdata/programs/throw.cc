// Throws twice: the first exception is caught, the second ends the process
// (SIGABRT, "terminate called").
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>

class Ledger {
public:
    void credit(const std::string &who, long amount) { accounts[who] += amount; }

    void debit(const std::string &who, long amount)
    {
        if (accounts.at(who) < amount)
            throw std::runtime_error(who + " has too little");
        accounts[who] -= amount;
    }

private:
    std::map<std::string, long> accounts;
};

int main()
{
    Ledger ledger;
    ledger.credit("ada", 10);
    try {
        ledger.debit("ada", 11);
    } catch (const std::runtime_error &e) {
        std::cout << "refused: " << e.what() << std::endl;
    }
    ledger.debit("bob", 1); // std::out_of_range, not caught
}
