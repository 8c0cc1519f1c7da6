"""Our own plain English lines as a voice agent would speak them: answers, questions, numbers."""

from __future__ import annotations

AGENT: tuple[str, ...] = tuple(
    line.strip()
    for line in """
Yes.
No, I'm afraid not.
Hello! How can I help you?
Okay, one moment.
Sure, no problem at all.
Maybe. Let me think about it.
Absolutely, I'd be happy to.
Hmm, that's an interesting point.
Sorry, could you say that again?
Pardon me?
Got it, thanks.
Perfect. What else?
Of course, by all means.
Bye for now!
Good morning, Barbara.
Welcome back, Mr. Pembroke.
Really? Tell me more.
Wow, that's amazing!
Oh no, what happened?
Congratulations, you made it!
Never mind, we'll fix it together.
Not yet, but very soon.
Probably around half an hour.
I don't think so.
Exactly, that's the one.
Great choice!
Please stop.
Go ahead, I'm listening.
Right away, ma'am.
Be careful, the plate is hot!
Help yourself.
Both, if possible.
Boom! And the whole tower came down.
Bravo, what a performance!
Hm, give me a second.
You're welcome. Anything else?
Fair enough, we'll leave it at that.
Whoops, I mixed up the two numbers.
Thank goodness you're home.
Nope, nothing so far.
My name is Amelia, and I'm your assistant for today.
Am I speaking with Mrs. Bramble?
May I have your full name and date of birth, please?
Could you spell your last name for me?
That's B as in bravo, P as in papa, M as in mike.
Your booking number is four, seven, nine, B, two, zero.
The total comes to eighty-six pounds and fifty pence.
Your balance is one thousand two hundred and thirteen dollars.
That will be nine ninety-nine plus tax.
It's a quarter past seven in the morning over there.
The meeting starts at two thirty, on the fourteenth of March.
We're open from eight a.m. to six p.m., Monday to Saturday.
Dial five five five, zero one four eight.
One, two, three, four, five, and so on up to fifty.
Flight B seventeen boards at gate number forty-three.
Room three hundred and six is on the third floor.
About ninety percent of the members voted for it.
The temperature will climb to twenty-eight degrees by midday.
Two thirds of a cup, or roughly a hundred and sixty millilitres.
In nineteen sixty-nine people walked on the moon for the first time.
It's five miles away, so you'll need about a quarter of an hour.
Option one is cheaper, option two is faster.
Six minus four makes two, and two times five makes ten.
Version eleven point four fixes that bug.
You have sixteen new messages, and three of them are urgent.
The code is eight, eight, one, six, zero, zero, five.
It weighs a little over seven kilos.
Your appointment with Dr. Abernathy is on Tuesday at noon.
I've moved your lunch with Phoebe to Thursday.
Would Wednesday the twenty-first work for you?
Shall I remind you an hour before?
Which of these would you like to hear first?
Do you want me to read it out loud?
What's the best number to reach you on?
Where should we ship the package?
When did the problem first appear?
Who else should I invite?
Why don't we try something simpler?
How would you like your eggs?
Is there anything you'd like me to change?
Are you travelling alone, or with somebody?
Have you tried switching it off and on again?
Did that answer your question?
Can you see the blinking light beside the power button?
Should I play some music in the meantime?
What kind of movies do you enjoy?
Do you prefer tea, coffee, or just water?
How many people will be coming to the barbecue?
Would you mind holding for two or three minutes?
Isn't it a bit late for that?
What do you mean by maybe?
Have you got a pen and some paper nearby?
May I ask what this is about?
Where exactly does it hurt?
How do you feel about moving abroad?
Was the bathroom clean when you arrived?
Shall we pick up where we left off?
Do you happen to know the model number?
I can book a table for four at the Olive Branch tonight.
I found three pharmacies within walking distance.
I've just sent the map to your phone.
I'll put you through to my colleague Matthew.
I'm checking the availability of both rooms now.
I'd recommend the vegetable soup with a piece of fresh bread.
I can't find that file, but here are two others with similar names.
I've updated your address to eleven Abbott Mews.
I'm really sorry about the mix-up with your bill.
I understand that this must be frustrating.
I'll make a note of it for the manager.
I'm just a computer program, but I'll do my best.
I think you may have typed the wrong password.
I've paused the film; say play to go on.
I believe the pharmacy on Maple Street is still open.
I only speak a bit of Portuguese, but let's give it a try.
I would bring a jumper, because the evenings get chilly.
I'm turning on the lamps in the bedroom.
I have good news and bad news.
I'd say that's above average for September.
Let's take a deep breath and begin with the basics.
Let's go over the plan once more.
Let me pull up your account.
Let me repeat that, just to be sure.
Let me know when you're ready to move on.
Let's wrap up with a quick summary.
First, remove the back cover with a small screwdriver.
Next, plug the blue cable into the port on the left.
Then press and hold both buttons for about ten seconds.
Finally, wipe the lens with a soft, dry cloth.
Open the menu, tap on privacy, and switch off tracking.
Put the lid on the pan and simmer it for half an hour.
Whisk two eggs with a pinch of salt and some pepper.
Peel the shrimp, chop the parsley, and warm up the butter.
Add a cup of brown rice and bring everything to the boil.
Fold the mixture gently, so that it stays light and fluffy.
Save your work before you close the browser.
Tap twice to skip, and swipe up to go home.
Unplug the machine before you clean the pump.
Bend your knees, keep your back straight, and lift slowly.
Breathe in through your nose, and out through your mouth.
Stay on the motorway for another twelve miles.
In two hundred yards, turn right onto Bishop Avenue.
Take the second exit at the roundabout, then keep left.
Your destination is ahead, just beyond the petrol pump.
Make a U-turn when possible.
Heavy traffic ahead: expect a delay of about thirteen minutes.
The quickest route goes over the Humber Bridge.
Watch out, there's a speed bump ahead.
Trains to Oxford leave every half hour from platform nine.
The number twelve bus stops right opposite the cinema.
Today will be mostly sunny, with a few puffy clouds.
Expect showers in the north and a strong breeze along the coast.
Fog may form in the valleys before dawn.
Tomorrow looks bright and dry, with a high of nineteen.
There's a storm warning for the islands until Friday evening.
A rainbow appears when sunlight meets drops of water.
Bats find their way by listening to echoes.
Honey never spoils, if you keep the jar shut.
An octopus has three hearts and very clever arms.
The human body has just over two hundred bones.
Lightning is much hotter than the surface of the sun.
Penguins cannot fly, but they swim beautifully.
Bamboo can grow almost a metre in a single day.
Light from the sun reaches us in about eight minutes.
Whales sing songs that travel for hundreds of miles.
Most of the ocean floor has never been mapped.
A day on Venus lasts longer than its year.
Coffee beans are in truth the seeds of a red fruit.
The Romans built roads that people still use.
Amber is tree sap that turned to stone long ago.
Glass is made from sand, ash, and a lot of heat.
Mount Everest grows by a few millimetres each year.
Volcanoes shape islands, mountains, and fertile valleys.
Ants talk to each other by means of smells.
A group of lions is called a pride.
Magnets have a north pole and a south pole.
Plants make sugar out of air, water, and sunshine.
Bicycles became popular well before motor cars did.
The word robot comes from a play about a hundred years old.
Paper was first made in China from bark and rags.
Copper turns green when it's left out in the rain.
Some frogs survive the winter frozen almost solid.
Your heart beats about a hundred thousand times a day.
Sound moves faster through water than through air.
Mercury is the only metal that's liquid on a warm day.
Giraffes sleep for less than two hours a night.
Once upon a time, a mouse lived in a baker's boot.
The dragon yawned, and a puff of smoke rose from its mouth.
Suddenly, someone banged on the window with an umbrella.
The old sailor rubbed his beard and began to mumble.
Behind the mirror they discovered a tiny wooden door.
Nobody in the village believed what Milo had seen.
She opened the box, and out flew a hundred moths.
And from that day on, the bridge was never empty again.
The moon hid behind the clouds, as if it were ashamed.
Grandpa always began his stories with the same joke.
Why did the scarecrow win a prize? It was outstanding in its field.
What do you call a bear without teeth? A gummy bear!
Knock, knock. Who's there? Boo. Boo who? Please don't cry.
I told my lamp a joke, but it didn't brighten up.
My piano tuner is called Mr. Keys, believe it or not.
Practice beats talent, if talent never shows up to practice.
A problem shared is a problem halved.
Slow down; there's no prize for rushing.
Better to ask twice than to get lost once.
Every expert was a beginner at some point.
It's fine to make mistakes, as long as you learn from them.
Try to sleep more, worry less, and drink plenty of water.
Start with five minutes a day, and build up from there.
Maybe it's time for a break; you've been working since breakfast.
Think of a place where you feel perfectly calm.
You did remarkably well, and I'm proud of you.
Don't worry, it happens to everybody.
I hear you. That sounds like a rough week.
Take as long as you need; I'm not going anywhere.
That's brilliant, Bob, keep it up!
What a shame, I was hoping for better news.
Hooray, the parcel has finally arrived!
Ouch, that must have hurt!
How dare they treat you that way!
Look at that, it works!
My goodness, what a mess!
Hurry up, or we'll miss the beginning!
Shh, the baby is asleep.
Phew, that was close.
Ah, now I see what you mean.
Um, I'm not quite sure about that.
Well, it depends on the weather.
Actually, there may be a simpler way.
Anyway, back to the main topic.
By the way, your subscription ends in November.
As far as I know, both shops accept cards.
To be honest, I'd choose the bigger one.
On the other hand, a smaller boat is easier to park.
In other words, the more you save, the less you pay.
For example, a bread maker uses less power than an oven.
Unfortunately, all flights to Bombay are fully booked.
Luckily, the museum offers a free tour at four.
Honestly, I could talk about mushrooms for hours.
However, the warranty doesn't cover water damage.
Meanwhile, the oven should be warming up.
Besides, it's much too far to walk in those shoes.
Otherwise, we'd have to move the whole thing to April.
Philip and Sophia moved to Philadelphia five years ago.
Benjamin plays bass in a band from Birmingham.
Miriam, Pablo, and Abigail want to come along.
Please give my best wishes to Thomas and Ruth.
Mr. Webb from Hamburg called while you were out.
Professor Yamamoto teaches chemistry in Cambridge.
Our new member is Fatima, from a small town near Cairo.
Oliver, Chloe, and Jacob share a flat in Edinburgh.
Have you met Vera, my sister-in-law from Bucharest?
Charlie bought a puppy and called it Pumpkin.
Hannah's ferry leaves Dover at ten to eleven.
Aunt Josephine was born in Zurich and grew up in Bath.
Ravi, would you show Beth how the camera works?
Ingrid thinks that Uwe should ask George.
Captain Moreau sailed from Naples to Mombasa.
Our office is at fifty-two Palmerston Parade, Brighton.
The capital of Peru is Lima, and that of Cuba is Havana.
Mississippi, Alabama, and Wyoming are all on the list.
Pisa has a leaning tower, Paris has an iron one.
The Amazon carries more water than any other river.
Could you please email me a copy of the passport?
Please read the terms and tick the box at the bottom.
Please keep your seat belt on until the plane has parked.
Please mind the gap between the train and the platform.
Please enter the six digits that we sent to your mobile.
Please bring a proof of purchase and a valid permit.
Put simply, the pipe was too thin for that much pressure.
Pop it in a bag and bring it to the shop.
Pam's puppy chewed up a pair of pink slippers.
Perhaps the bulb is broken, or maybe the plug is loose.
Public parking is available below the opera.
People who buy in bulk often pay more than they hope.
Paper cups pile up by the pool in the summer.
Poor Peter slipped and bumped his elbow on the pump.
Bubbles form at the bottom of the pot before it boils.
Bob grabbed the rope and climbed aboard.
Blackberries and plums make an excellent crumble.
Big problems become small when you break them up.
By Sunday, the bamboo had grown above the balcony.
Both brothers became plumbers, like their mum.
Birds build nests from bits of bark, moss, and mud.
Breakfast is served between six and ten, in the blue room.
My mum makes a marvellous mushroom omelette.
Mix some mint with lemon and a spoonful of maple syrup.
Maybe Monday, maybe sometime next month.
Make a list of the things that matter most.
More than a million people watched the match.
Most members meet on the first of the month.
Many moments passed before anyone moved.
Mind the step, and mind your head!
My memory for names is embarrassingly bad.
Mum, may I have some more jam?
From time to time, something goes wrong.
Seems as if the system came up by itself.
Come home, come in, come and warm your hands.
Sometimes the simplest remedy is a warm meal.
Five of the villagers found a very rare fossil.
Very few visitors ever leave the valley by foot.
Vote early, vote often, as the old joke goes.
Phone me before five if you have found a favourite.
Have a safe flight, and a lovely evening.
Over the river, above the cliff, you'll have a view of the harbour.
Half of the leaves had fallen off by the fifth.
If I were you, I'd leave the heavy stuff behind.
Why would we wait when we could walk?
We were wondering where the wild geese went.
Which way is west, and which one is wrong?
Wash the windows with warm water and white vinegar.
Who would want a swimming pool with no water?
Quite a few squirrels were squabbling over one walnut.
She washed, she shaved a carrot, and she shut the door.
Shall I share the sheet with the whole shift?
Choose a chair and check the chart on page six.
Judge Jameson enjoys jazz, ginger, and large jigsaws.
Usually there's a casual dinner after the exhibition.
This is the third Thursday of the month, isn't it?
Those three thieves thought that nobody could see them.
Neither the mother nor the father could breathe in there.
The author thanked both of them for the thoughtful birthday present.
Tell the waiter that table ten needs two teaspoons.
Ten tired tourists tried to take the late train.
Don't add the dates until the data is double checked.
Dinner's ready, and dessert needs another hundred seconds.
No news is good news, or so I have been told.
Lots of little lights lit up the tall hall.
All the lilies along the lane will last till June.
Really rare rubies are rarely red all through.
The rural library around the corner orders rare records.
Your use of yellow is unusual, yet youthful.
You, your uncle, and a few young musicians.
Go and get the green bag from the garage.
Kate kept the keys in a kettle, of all places.
Could the cook come quickly? The cake is catching fire!
Singing is the thing that brings young and old together.
Hang the long string along the ceiling, please.
He hopes that half of the house will be heated.
How on earth did he hear us from up there?
Zip up the zebra costume; the show is about to begin.
It's his, it's hers, and the prizes are theirs.
Ask an aunt, an uncle, or anyone else.
Oh, I see. Each of us owes you an apology.
Are our hours on or off the agenda?
Eat an apple, an egg, and an ounce of oats.
I owe you eight, you owe me an hour of peace.
Now how about a brown cow, a loud crowd, and a cloud?
The boy's toy made a noise that annoyed Joyce.
My eye caught a fine white light in the night sky.
They may stay and play until the eighth of May.
So the crow rode home alone on a slow boat, did it?
Fur, dirt, and a worm: the bird was hard at work.
Her nephew hears clearly, but he barely hears near the pier.
Where there's a care, there's a spare chair upstairs.
Sure, the tour of the poor old moor was a bit dull.
The food was good, but the blue spoon looked odd.
Ought the author to have bought more chalk?
Father's car won't start, and the yard is dark.
Cut the onion, love, and come to supper.
Sit still for six minutes and listen to this.
Seas, trees, bees, and cheese: what do they have in common?
Get ten pens, seven pencils, and a bed for Ted.
Sam's cat had a nap on my lap, as cats do.
Stop the clock! Not a lot of rocks are that hot.
The delivery is late because a lorry blocked the only bridge into town, but it should arrive \
before supper.
If you're calling about a broken item, please have the receipt ready, and tell me what happened \
in your own words.
I compared both plans for you: the basic one is twelve pounds a month, and the family one, which \
covers up to five people, is thirty.
Once the payment has gone through, you'll get an email with the tickets, and you can show them on \
your phone.
There are two ways to do this: we can move the whole booking to June, or I can cancel it and send \
the money back.
What most people forget is that bread needs time, so leave the dough in a warm room and don't \
touch it before it has doubled.
She grew up by the sea, studied music in Vienna, worked for a bank, and opened a bookshop when \
she was almost fifty.
When the alarm rings, leave your bags, walk to the nearest exit, and meet the others by the big \
maple tree.
The first part explains what happened, the second why it matters, and the third what you may do \
about it.
In the summer it's crowded and rather expensive, but in the off season you'll have the beach, the \
palms, and the paths to yourself.
If it beeps once, the battery is low; if it beeps twice, the memory is full; and if it doesn't \
beep at all, please call us.
Imagine a box with a hundred marbles, ten of them purple, and ask how likely you are to pick a \
purple one.
Thank you for waiting, and thanks for your patience; I've now spoken with the workshop, and your \
bike will be ready by half past four.
""".strip().splitlines()
)
